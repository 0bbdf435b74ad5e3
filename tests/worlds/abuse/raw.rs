//! A connection on which any bytes can be sent.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Past this an answer will not come any more; the service's own limits are below it.
const PATIENCE: Duration = Duration::from_secs(70);

pub(crate) struct Raw(TcpStream);

impl Raw {
    pub(crate) fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).expect("the service accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit can be set");
        stream.set_nodelay(true).expect("a socket has no delay when it is told so");
        Self(stream)
    }

    /// A connection that is busy for a quarter of a minute: answers about an unknown pin are delayed.
    pub(crate) fn busy(to: SocketAddr) -> Self {
        let mut connection = Self::connect(to);
        let ask = "GET /api/v1/clusters/zzzzzzzzzzzz HTTP/1.1\r\nHost: x\r\n\r\n";
        connection.send(ask.repeat(400).as_bytes());
        connection
    }

    /// Sends as much as the service takes: it may close at any byte.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    /// Sends no more, but reads on.
    pub(crate) fn half_close(&mut self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }

    /// Everything that comes until the service closes.
    pub(crate) fn rest(&mut self) -> String {
        let mut read = Vec::new();
        // A reset is an end too: the service closed with bytes of ours unread.
        if let Err(err) = self.0.read_to_end(&mut read) {
            assert!(err.kind() == std::io::ErrorKind::ConnectionReset, "the service does not close: {err}");
        }
        String::from_utf8_lossy(&read).into_owned()
    }

    /// What comes up to the end of a head.
    pub(crate) fn head(&mut self) -> String {
        self.up_to("\r\n\r\n")
    }

    /// What comes up to these words, or the end.
    pub(crate) fn up_to(&mut self, words: &str) -> String {
        let mut read = Vec::new();
        let mut byte = [0];
        while !read.ends_with(words.as_bytes()) && self.0.read(&mut byte).is_ok_and(|count| count == 1) {
            read.push(byte[0]);
        }
        String::from_utf8_lossy(&read).into_owned()
    }
}

impl Raw {
    /// Whether anything has come so far.
    pub(crate) fn has_news(&self) -> bool {
        self.0.set_nonblocking(true).expect("a socket waits or not, as it is told");
        let news = self.0.peek(&mut [0]).is_ok();
        self.0.set_nonblocking(false).expect("a socket waits or not, as it is told");
        news
    }
}

/// The statuses of the answers in a text.
pub(crate) fn statuses(text: &str) -> Vec<u16> {
    let answers = text.split("HTTP/1.1 ").skip(1);
    answers.filter_map(|answer| answer.get(..3)?.parse().ok()).collect()
}
