//! Greetings made by hand: no library offers any more what is looked for here.
//!
//! A ClientHello is as in RFC 5246, section 7.4.1.2, with the extensions without which no server answers it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::services;

/// Past this there will be no answer.
const PATIENCE: Duration = Duration::from_secs(60);

const SSL_3: u16 = 0x0300;
const TLS_1_0: u16 = 0x0301;
const TLS_1_1: u16 = 0x0302;
const TLS_1_2: u16 = 0x0303;

/// TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 and its RSA twin: one of them any service takes.
const GOOD: &[u16] = &[0xc02b, 0xc02f];

/// Suites by what is wrong with them, by their numbers in IANA's registry.
const WEAK: &[(&str, &[u16])] = &[
    ("NULL", &[0x0001, 0x0002, 0x003b, 0xc006, 0xc010]),
    ("anonymous", &[0x0018, 0x001b, 0x0034, 0x006c, 0x00a6, 0xc018, 0xc019]),
    ("export", &[0x0003, 0x0006, 0x0008, 0x000b, 0x0014, 0x0062, 0x0064]),
    ("RC4", &[0x0004, 0x0005, 0xc007, 0xc011]),
    ("DES and 3DES", &[0x0009, 0x000a, 0x0015, 0x0016, 0xc008, 0xc012]),
    ("CBC", &[0xc009, 0xc00a, 0xc013, 0xc014, 0xc023, 0xc024, 0xc027, 0xc028, 0x0033, 0x0039, 0x0067]),
    ("static RSA", &[0x002f, 0x0035, 0x003c, 0x003d, 0x009c, 0x009d]),
    ("static ECDH", &[0xc004, 0xc00e, 0xc025, 0xc02d, 0xc031]),
    ("finite field DHE", &[0x009e, 0x009f, 0xccaa]),
];

/// What a service makes of a greeting.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// It agrees, to this version, suite and compression.
    Hello { version: u16, suite: u16, compression: u8 },
    /// It refuses, with the number of an alert: 40 is `handshake_failure`, 70 `protocol_version`.
    Alert(u8),
    /// It closes without a word.
    Nothing,
}

impl Answer {
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Alert(_))
    }
}

/// Something with its length before it, in so many bytes.
fn counted(width: usize, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("a greeting is short").to_be_bytes();
    [&length[4 - width..], content].concat()
}

fn numbers(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn extension(number: u16, content: &[u8]) -> Vec<u8> {
    [number.to_be_bytes().to_vec(), counted(2, content)].concat()
}

fn greeting(version: u16, suites: &[u16], compressions: &[u8]) -> Vec<u8> {
    let extensions = [
        extension(10, &counted(2, &numbers(&[0x001d, 0x0017]))), // supported_groups: x25519, secp256r1
        extension(11, &counted(1, &[0])),                        // ec_point_formats: uncompressed
        extension(13, &counted(2, &numbers(&[0x0403, 0x0804, 0x0401, 0x0201]))), // signature_algorithms
    ];
    let body = [
        version.to_be_bytes().to_vec(),
        vec![7; 32],     // random
        counted(1, &[]), // session_id
        counted(2, &numbers(suites)),
        counted(1, compressions),
        counted(2, &extensions.concat()),
    ];
    let handshake = [vec![1], counted(3, &body.concat())].concat();
    let outer = version.min(TLS_1_0).to_be_bytes();
    [vec![22], outer.to_vec(), counted(2, &handshake)].concat()
}

/// Sends a greeting and reads the first record of the answer.
fn greet(to: SocketAddr, version: u16, suites: &[u16], compressions: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(to).expect("the service accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit can be set");
    stream.write_all(&greeting(version, suites, compressions)).expect("the service reads");
    let mut head = [0; 5];
    if stream.read_exact(&mut head).is_err() {
        return Answer::Nothing;
    }
    let mut record = vec![0; u16::from_be_bytes([head[3], head[4]]).into()];
    stream.read_exact(&mut record).expect("a record is whole");
    match head[0] {
        21 => Answer::Alert(record[1]),
        22 => {
            let two = |at: usize| u16::from_be_bytes([record[at], record[at + 1]]);
            assert_eq!(record[0], 2, "the first message is a ServerHello");
            let behind = 39 + usize::from(record[38]); // the session_id
            Answer::Hello { version: two(4), suite: two(behind), compression: record[behind + 2] }
        }
        other => panic!("a record of type {other}"),
    }
}

#[test]
fn nothing_older_than_tls_1_2_is_spoken() {
    for (kind, service) in services() {
        let hello = greet(service.address(), TLS_1_2, GOOD, &[0]);
        assert!(matches!(hello, Answer::Hello { version: TLS_1_2, .. }), "{kind}: {hello:?}");
        for version in [SSL_3, TLS_1_0, TLS_1_1] {
            let answer = greet(service.address(), version, GOOD, &[0]);
            assert!(answer.is_refusal(), "{kind}: {version:#06x}: {answer:?}");
        }
    }
}

#[test]
fn no_weak_suite_is_agreed_to() {
    for (kind, service) in services() {
        for (what, suites) in WEAK {
            let answer = greet(service.address(), TLS_1_2, suites, &[0]);
            assert!(answer.is_refusal(), "{kind}: {what}: {answer:?}");
            // Beside a good one it is the good one that is taken, whatever the client would rather have.
            let both = [suites, GOOD].concat();
            let answer = greet(service.address(), TLS_1_2, &both, &[0]);
            assert!(
                matches!(answer, Answer::Hello { suite, .. } if GOOD.contains(&suite)),
                "{what}: {answer:?}"
            );
        }
    }
}

#[test]
fn nothing_is_compressed() {
    for (kind, service) in services() {
        let answer = greet(service.address(), TLS_1_2, GOOD, &[1, 0]);
        assert!(matches!(answer, Answer::Hello { compression: 0, .. }), "{kind}: {answer:?}");
        let answer = greet(service.address(), TLS_1_2, GOOD, &[1]);
        assert!(answer.is_refusal(), "{kind}: {answer:?}");
    }
}
