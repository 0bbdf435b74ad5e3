//! Mistakes with the agent: its command line, the context, the way to the service, the service.

use super::Mistake;

/// The command of most rows.
const BOOT: &str = "contextualize --user-data context";
/// A limit that a test can wait for.
const SOON: &str = "cvm_cluster_timeout=2";

pub(crate) const MISTAKES: &[Mistake] = &[
    // The command line.
    Mistake::new("", 64, "which command?", "--help"),
    Mistake::new("frobnicate", 64, "no command 'frobnicate'", "--help"),
    Mistake::new("publish", 64, "which key?", "--help"),
    Mistake::new("publish k", 64, "which value?", "standard input"),
    Mistake::new("publish a.b v", 64, "cannot be a key", "letters, digits"),
    Mistake::new("get", 64, "which key?", "--help"),
    Mistake::new("get a b", 64, "does not take 'b'", "--help"),
    Mistake::new("check", 64, "needs a file", "--help"),
    Mistake::new("master-ready --wait", 64, "belongs to 'get'", "--help"),
    Mistake::new("contextualize --cloud-init --bootloader", 64, "exclude each other", "--help"),
    Mistake::new("--frob", 64, "--frob", "--help"),
    // Files and the section.
    Mistake::new(
        "contextualize --user-data nowhere",
        74,
        "cannot read nowhere",
        "check that the file exists",
    ),
    Mistake::new("check nowhere", 74, "cannot read nowhere", "check that the file exists"),
    Mistake::new("publish k v --user-data context", 65, "no ucernvm section", "--user-data"),
    Mistake::new("get k --user-data context", 65, "no cvm_cluster_pin", "--user-data")
        .with_section(&["cvm_cluster_master=yes"]),
    Mistake::new(BOOT, 65, "line 4: cvm_cluster_pin", "pin").with_section(&["cvm_cluster_pin=a/b"]),
    Mistake::new(BOOT, 65, "cvm_service_url is neither", "https://host:port")
        .with_section(&["cvm_cluster_pin=unknown00000", "cvm_service_url=ftp://pair"]),
    Mistake::new(BOOT, 65, "a port that is not a number", "https://host:port")
        .with_section(&["cvm_cluster_pin=unknown00000", "cvm_service_url=http://pair:99999"]),
    Mistake::new(BOOT, 65, "has a user name in it", "https://host:port")
        .with_section(&["cvm_cluster_pin=unknown00000", "cvm_service_url=http://a:b@pair"]),
    Mistake::new(BOOT, 65, "cvm_service_fingerprint is not sha256:", "the line that the service printed")
        .with_section(&["cvm_cluster_pin=unknown00000", "cvm_service_fingerprint=sha256:0a"]),
    Mistake::new(BOOT, 65, "cvm_service_ca is not base64", "base64 -w0 ca.pem")
        .with_section(&["cvm_cluster_pin=unknown00000", "cvm_service_ca=/etc/ca.pem"]),
    Mistake::new(BOOT, 65, "cvm_service_url is http://", "write https://").with_section(&[
        "cvm_cluster_pin=unknown00000",
        "cvm_service_url=http://pair",
        "cvm_service_fingerprint={fingerprint}",
    ]),
    Mistake::new(BOOT, 65, "cvm_cluster_timeout", "seconds")
        .with_section(&["cvm_cluster_pin=unknown00000", "cvm_cluster_timeout=soon"]),
    // The way to the service.
    Mistake::new(BOOT, 69, "{closed}: connection refused", "TCP {closed} is open").with_section(&[
        "cvm_cluster_pin={pin}",
        "cvm_service_url=http://{closed}",
        SOON,
    ]),
    Mistake::new(BOOT, 69, "pair.invalid", "cvm_service_url").with_section(&[
        "cvm_cluster_pin={pin}",
        "cvm_service_url=http://pair.invalid",
        SOON,
    ]),
    Mistake::new(BOOT, 69, "no whole answer in time", "takes connections but does not answer")
        .with_section(&["cvm_cluster_pin={pin}", "cvm_service_url=http://{silent}", SOON]),
    Mistake::new(BOOT, 69, "no TLS handshake in time", "takes connections but does not answer")
        .with_section(&["cvm_cluster_pin={pin}", "cvm_service_url=https://{silent}", SOON]),
    Mistake::new(BOOT, 69, "ended before the answer was whole", "takes connections but closes them")
        .with_section(&["cvm_cluster_pin={pin}", "cvm_service_url=http://{closing}", SOON]),
    Mistake::new(BOOT, 69, "HTTP proxy", "http_proxy=http://USER:PASSWORD@HOST:PORT")
        .with_section(&["cvm_cluster_pin={pin}", "cvm_service_url=http://pair.invalid", SOON])
        .with_environment(&[("http_proxy", "http://{proxy_407}")]),
    Mistake::new(BOOT, 69, "it answered 407", "USER:PASSWORD")
        .with_section(&["cvm_cluster_pin={pin}", "cvm_service_url=https://pair.invalid", SOON])
        .with_environment(&[("https_proxy", "http://{proxy_407}")]),
    Mistake::new(BOOT, 69, "{proxy_403} answered 403", "no_proxy=pair.invalid")
        .with_section(&["cvm_cluster_pin={pin}", "cvm_service_url=http://pair.invalid", SOON])
        .with_environment(&[("http_proxy", "http://{proxy_403}")]),
    // The deadline is for the whole: the proxy sends a byte now and then, and never comes to an end.
    Mistake::new(BOOT, 69, "in time", "pair.invalid")
        .with_section(&["cvm_cluster_pin={pin}", "cvm_service_url=https://pair.invalid", SOON])
        .with_environment(&[("https_proxy", "http://{dripping}")]),
    // TLS.
    Mistake::new(BOOT, 77, "does not speak TLS", "or http:// if the service has no TLS").with_section(&[
        "cvm_cluster_pin={pin}",
        "cvm_service_url=https://{plain}",
        SOON,
    ]),
    Mistake::new(BOOT, 76, "TLS", "write https:// in cvm_service_url").with_section(&[
        "cvm_cluster_pin={pin}",
        "cvm_service_url=http://{secure}",
        SOON,
    ]),
    Mistake::new(BOOT, 77, "a CA that is not trusted", "cvm_service_fingerprint").with_section(&[
        "cvm_cluster_pin={pin}",
        "cvm_service_url=https://{secure}",
        SOON,
    ]),
    Mistake::new(BOOT, 77, "not the one of the fingerprint", "compare cvm_service_fingerprint").with_section(
        &[
            "cvm_cluster_pin={pin}",
            "cvm_service_url=https://{secure}",
            "cvm_service_fingerprint=sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a",
            SOON,
        ],
    ),
    // The service and its answers.
    Mistake::new(BOOT, 77, "does not know the pin unkn…", "make a new pin").with_section(&[
        "cvm_cluster_pin=unknown00000",
        "cvm_service_url=http://{plain}",
        SOON,
    ]),
    Mistake::new(BOOT, 76, "404 Not Found", "check the path in cvm_service_url").with_section(&[
        "cvm_cluster_pin={pin}",
        "cvm_service_url=http://{plain}/nowhere",
        SOON,
    ]),
    Mistake::new(BOOT, 76, "no Route matched", "check the path in cvm_service_url").with_section(&[
        "cvm_cluster_pin={pin}",
        "cvm_service_url=http://{gateway}",
        SOON,
    ]),
    Mistake::new(BOOT, 76, "an HTML page (200 OK)", "log in to the network's portal").with_section(&[
        "cvm_cluster_pin={pin}",
        "cvm_service_url=http://{html}",
        SOON,
    ]),
    Mistake::new(BOOT, 76, "to another host, https://other.example.org", "where the service really is")
        .with_section(&["cvm_cluster_pin={pin}", "cvm_service_url=http://{elsewhere}", SOON]),
    Mistake::new(BOOT, 76, "403 Forbidden: not for you", "names a pairing service").with_section(&[
        "cvm_cluster_pin={pin}",
        "cvm_service_url=http://{forbidden}",
        SOON,
    ]),
    Mistake::new(BOOT, 76, "not HTTP", "names a pairing service").with_section(&[
        "cvm_cluster_pin={pin}",
        "cvm_service_url=http://{mail}",
        SOON,
    ]),
    Mistake::new(BOOT, 76, "more than a pairing service ever answers", "names a pairing service")
        .with_section(&["cvm_cluster_pin={pin}", "cvm_service_url=http://{huge}", SOON]),
    Mistake::new(
        "publish k {long_value} --user-data context",
        65,
        "no more than 1000 characters",
        "--max-value-length",
    )
    .with_section(&["cvm_cluster_pin={strict_pin}", "cvm_service_url=http://{original}", SOON]),
    Mistake::new("publish k $(x) --user-data context", 65, "the value of 'k'", "base64").with_section(&[
        "cvm_cluster_pin={pin}",
        "cvm_service_url=http://{plain}",
        SOON,
    ]),
    Mistake::new("get missing --user-data context", 75, "'missing'", "publish").with_section(&[
        "cvm_cluster_pin={pin}",
        "cvm_service_url=http://{plain}",
        SOON,
    ]),
    Mistake::new(BOOT, 75, "the master is not ready", "master").with_section(&[
        "cvm_cluster_pin={pin}",
        "cvm_service_url=http://{plain}",
        SOON,
    ]),
];
