//! Decoders that are written another way than ours, to hold ours to.

/// Base64, of which the blanks and what pads it are out: six bits after six bits.
pub(super) fn base64(encoded: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count) = (0_u32, 0);
    let mut decoded = Vec::new();
    for byte in encoded {
        let Some(value) = (0..).zip(ALPHABET).find_map(|(value, letter)| (letter == byte).then_some(value))
        else {
            assert!(byte.is_ascii_whitespace() || *byte == b'=', "{byte} is no base64");
            continue;
        };
        bits = (bits << 6 | value) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            decoded.extend((bits >> count).to_le_bytes().first());
        }
    }
    decoded
}

/// Whether it is base64 without padding, blanks aside. What is padded may be padded wrongly.
pub(super) fn is_base64(encoded: &[u8]) -> bool {
    let mut letters = 0;
    encoded.iter().filter(|byte| !byte.is_ascii_whitespace()).all(|byte| {
        letters += 1;
        byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
    }) && letters % 4 != 1
}

/// Quoted-printable, step by step as `binascii_a2b_qp_impl` of CPython's `Modules/binascii.c` goes.
pub(super) fn quoted_printable(encoded: &[u8]) -> Vec<u8> {
    let at = |index: usize| encoded.get(index).copied();
    let digit = |index: usize| at(index).filter(u8::is_ascii_hexdigit);
    let mut decoded = Vec::new();
    let mut index = 0;
    while let Some(byte) = at(index) {
        index += 1;
        if byte != b'=' {
            decoded.push(byte);
        } else if matches!(at(index), Some(b'\n' | b'\r')) {
            while at(index).is_some_and(|byte| byte != b'\n') {
                index += 1;
            }
            index += 1;
        } else if at(index) == Some(b'=') {
            decoded.push(b'=');
            index += 1;
        } else if let (Some(high), Some(low)) = (digit(index), digit(index + 1)) {
            let digits = [high, low];
            let digits = str::from_utf8(&digits).expect("digits are text");
            decoded.push(u8::from_str_radix(digits, 16).expect("they are digits"));
            index += 2;
        } else if index < encoded.len() {
            decoded.push(b'=');
        }
    }
    decoded
}
