//! Mistakes with the service's program: running the service, and the commands of its users.

use super::Mistake;

pub(crate) const MISTAKES: &[Mistake] = &[
    // The command line.
    Mistake::new("", 64, "Usage: cernvm-pairing-server", "serve"),
    Mistake::new("serv", 64, "unrecognized subcommand 'serv'", "a similar subcommand exists: 'serve'"),
    Mistake::new("serve --max-pin 3", 64, "'--max-pin'", "a similar argument exists: '--max-pins'"),
    Mistake::new(
        "serve --listen 8000",
        64,
        "not an IP address with a port",
        "write 127.0.0.1:8000, or [::]:8000",
    ),
    Mistake::new("serve --listen localhost:8000", 64, "not an IP address with a port", "[::]:8000"),
    Mistake::new("serve --max-pins 0", 64, "'--max-pins <N>'", "above 0"),
    Mistake::new("serve --pin-lifetime 24", 64, "'24'", "such as 24h"),
    Mistake::new(
        "serve --trusted-proxy proxy",
        64,
        "not an address or network",
        "such as 10.1.2.3 or 10.0.0.0/8",
    ),
    Mistake::new("serve --tls-cert c", 64, "--tls-key", "--help"),
    Mistake::new("serve --tls-self-signed --tls-cert c --tls-key k", 64, "cannot be used with", "--help"),
    Mistake::new("serve --log loud", 64, "'loud'", "possible values: off, error"),
    Mistake::new("serve", 64, "'maybe'", "neither yes nor no")
        .with_environment(&[("CERNVM_PAIRING_IN_MEMORY", "maybe")]),
    Mistake::new(
        "pin --url http://{plain}",
        0,
        "CERNVM_PAIRING_LISTENS belongs to no flag",
        "did you mean CERNVM_PAIRING_LISTEN?",
    )
    .with_environment(&[("CERNVM_PAIRING_LISTENS", "x")]),
    Mistake::new(
        "serve --public-url http://localhost:8000",
        64,
        "means the VM itself",
        "by which the VMs reach",
    ),
    Mistake::new("serve --public-url ftp://pair", 64, "it is neither http:// nor https://", "--help"),
    // Starting the service.
    Mistake::new(
        "serve --in-memory --listen {plain}",
        71,
        "cannot listen on {plain}: Address already in use",
        "give another --listen",
    ),
    Mistake::new(
        "serve --in-memory --listen 192.0.2.1:8000",
        71,
        "cannot listen on 192.0.2.1:8000",
        "an address of this machine",
    ),
    Mistake::new("serve --listen 127.0.0.1:0 --data-dir context", 74, "context", "data directory"),
    Mistake::new("serve --listen 127.0.0.1:0 --data-dir {data}", 74, "store", "who else uses it"),
    Mistake::new(
        "serve --in-memory --tls-cert nowhere --tls-key nowhere",
        74,
        "cannot read nowhere",
        "look at the file",
    ),
    Mistake::new("serve --in-memory --tls-cert text --tls-key text", 78, "no certificate in it", "in PEM"),
    Mistake::new("serve --in-memory --create-token-file short", 78, "short", "openssl rand -hex 16"),
    Mistake::new(
        "serve --in-memory --create-token-file nowhere",
        74,
        "cannot read nowhere",
        "look at the file",
    ),
    Mistake::new("backup --data-dir nowhere copy", 66, "no store in nowhere", "--data-dir"),
    // Which service.
    Mistake::new("pin --url ftp://pair", 64, "--url ftp://pair is neither", "give a URL such as"),
    Mistake::new("pin --url http://pair/?x", 64, "has a query", "give a URL such as"),
    Mistake::new(
        "pin --url http://{plain}",
        0,
        "for this machine alone",
        "an address of it that the VMs can reach",
    ),
    Mistake::new(
        "pin --url http://{closed}",
        69,
        "{closed}: connection refused",
        "check --url, and that TCP {closed} is open",
    ),
    Mistake::new("pin --url http://pair.invalid", 69, "pair.invalid", "check --url"),
    Mistake::new(
        "pin --url http://{closing}",
        69,
        "ended before the answer was whole",
        "--url has the right port",
    ),
    Mistake::new("pin --url http://{plain}/nowhere", 76, "404 Not Found", "check the path in --url"),
    Mistake::new("pin --url http://{html}", 76, "an HTML page", "correct --url"),
    Mistake::new("pin --url http://{mail}", 76, "not HTTP", "--url names a pairing service"),
    Mistake::new(
        "pin --url http://{elsewhere}",
        76,
        "another host",
        "where the service really is into --url",
    ),
    Mistake::new("pin --url http://pair.invalid", 69, "answered 407", "USER:PASSWORD")
        .with_environment(&[("http_proxy", "http://{proxy_407}")]),
    // TLS.
    Mistake::new("pin --url https://{plain}", 77, "does not speak TLS", "http:// if the service has no TLS"),
    Mistake::new("pin --url http://{secure}", 76, "TLS", "write https:// in --url"),
    Mistake::new("pin --url https://{secure}", 77, "a CA that is not trusted", "--fingerprint"),
    Mistake::new("pin --url https://{secure} --ca ca.pem", 77, "a CA that is not trusted", "--ca"),
    Mistake::new(
        "pin --url {secure} --fingerprint sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a",
        77,
        "not the one of the fingerprint",
        "compare --fingerprint",
    ),
    Mistake::new(
        "pin --url https://{secure} --fingerprint 0a0a",
        64,
        "is not sha256: and 64 hexadecimal digits",
        "--help",
    ),
    Mistake::new("pin --url http://{secure} --fingerprint {fingerprint}", 64, "is http://", "write https://"),
    Mistake::new("pin --ca ca.pem --fingerprint {fingerprint}", 64, "cannot be used with", "--help"),
    Mistake::new("pin --url https://{secure} --ca text", 78, "text: there is no certificate in it", "in PEM"),
    Mistake::new("pin --url https://{secure} --ca nowhere", 74, "cannot read nowhere", "look at the file"),
    // Tokens.
    Mistake::new("pin --url http://{guarded}", 77, "asks for a token", "--create-token-file"),
    Mistake::new(
        "pin --url http://{guarded} --create-token-file wrong",
        77,
        "asks for a token",
        "--create-token-file",
    ),
    Mistake::new("pin --url http://{guarded} --create-token-file short", 78, "short", "openssl rand -hex 16"),
    // Pins.
    Mistake::new("show", 64, "<PIN|->", "--help"),
    Mistake::new("show a/b", 64, "this is not a pin", "12 letters and digits"),
    Mistake::new(
        "show unknown00000 --url http://{plain}",
        77,
        "does not know the pin unkn…",
        "a pin that has expired",
    ),
    Mistake::new("show - --url http://{plain}", 77, "does not know the pin unkn…", "a pin that has expired"),
    Mistake::new(
        "delete - --url http://{plain}",
        77,
        "does not know the pin unkn…",
        "a pin that has expired",
    ),
    Mistake::new("delete {pin} --key nothing --url http://{plain}", 75, "no key 'nothing'", "show"),
    // Contexts.
    Mistake::new("contexts", 64, "--url <URL>", "--help"),
    Mistake::new("contexts --url http://{plain}", 64, "no VM can use http://{plain}", "--public-url"),
    Mistake::new("contexts --url localhost:8000", 64, "no VM can use http://localhost:8000", "--public-url"),
    Mistake::new(
        "contexts --url http://{plain} --public-url http://0.0.0.0:8000",
        64,
        "no VM can use",
        "--public-url",
    ),
    Mistake::new(
        "contexts --url http://192.0.2.1 --master context",
        73,
        "context exists",
        "--master and --slave",
    ),
    Mistake::new(
        "contexts --url https://192.0.2.1 --ca nowhere",
        74,
        "cannot read nowhere",
        "look at the file",
    ),
    Mistake::new("check", 64, "<FILE>", "--help"),
    Mistake::new("check nowhere", 74, "cannot read nowhere", "check that the file exists"),
    Mistake::new("check context", 65, "cvm_cluster_pin", "next:").with_section(&["cvm_cluster_pin=a/b"]),
    Mistake::new("check --strict context", 65, "warning", "use https://")
        .with_section(&["cvm_cluster_pin=unknown00000", "cvm_service_url=http://192.0.2.1:8000"]),
];
