//! The values that flags take.

use std::net::SocketAddr;

use protocol::url::ServiceUrl;

/// Reads an address with a port.
///
/// # Errors
/// It is none; with what to write instead.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let example = match text.trim_start_matches(':').parse::<u16>() {
            Ok(port) => format!("127.0.0.1:{port}, or [::]:{port} for every address of this machine"),
            Err(_) => "127.0.0.1:8000, or [::]:8000 for every address of this machine".to_owned(),
        };
        format!("it is not an IP address with a port; write {example}")
    })
}

/// Reads a URL that other machines can use.
pub(crate) fn public_url(text: &str) -> Result<ServiceUrl, String> {
    let url = ServiceUrl::parse(text, false).map_err(|problem| format!("it {problem}"))?;
    if url.is_loopback() {
        return Err(
            "on a VM it means the VM itself; give the URL by which the VMs reach the service".to_owned()
        );
    }
    Ok(url)
}

/// Reads a switch from the environment, where a flag has no value.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Ok(true),
        "" | "0" | "no" | "false" | "off" => Ok(false),
        _ => Err("it is neither yes nor no".to_owned()),
    }
}

/// Reads a number of things of which there must be one, or the service is of no use.
pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("{text:?} is not a number above 0"))
}

/// Reads a number of bytes such as `64M`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let explain = || format!("{text:?} is not a number of bytes, such as 134217728 or 128M");
    let shift = match text.bytes().last() {
        Some(b'K') => 10,
        Some(b'M') => 20,
        Some(b'G') => 30,
        _ => 0,
    };
    let number: u64 = text[..text.len() - usize::from(shift > 0)].parse().map_err(|_| explain())?;
    let bytes = number.checked_mul(1 << shift).ok_or_else(explain)?;
    let smallest = crate::budget::SMALLEST;
    if bytes < smallest {
        return Err(format!("{text:?} is less than {}M, with which no service works", smallest >> 20));
    }
    Ok(bytes)
}
