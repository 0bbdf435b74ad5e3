//! A connection to a member of etcd: tonic's, except that what it sends waits a turn of the runtime for what comes next.
//!
//! A request's head and its body, and the end of that, come from different tasks in turn, and each would be a packet of its
//! own, for each of which this process makes a system call and etcd wakes up. In one turn of the runtime they meet.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use etcd_client::{Channel, TlsOptions};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::transport::Endpoint;
use tower::ServiceExt as _;

/// Bytes that are sent without a wait.
const FULL: usize = 16 << 10;

/// How long things may take at a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// To connect.
    pub(crate) connect: Duration,
    /// Between two pings, while something is under way.
    pub(crate) ping: Duration,
    /// The answer to a ping.
    pub(crate) pong: Duration,
}

/// The channel to a member, which connects, and connects again, when something is asked.
///
/// # Errors
/// The URL or the TLS is none.
pub(crate) fn channel(
    url: &str,
    tls: Option<&TlsOptions>,
    times: Times,
) -> Result<Channel, etcd_client::Error> {
    let mut endpoint = Endpoint::from_shared(url.to_owned())?
        .connect_timeout(times.connect)
        .http2_keep_alive_interval(times.ping)
        .keep_alive_timeout(times.pong)
        .keep_alive_while_idle(false);
    if url.starts_with("https://") {
        endpoint = endpoint.tls_config(tls.cloned().unwrap_or_default())?;
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(times.connect));
    let connector =
        tcp.map_response(|stream: TokioIo<TcpStream>| TokioIo::new(Gathered::new(stream.into_inner())));
    Ok(Channel::Tonic(endpoint.connect_with_connector_lazy(connector)))
}

/// A stream to which nothing is written before a turn of the runtime has passed since the first flush.
struct Gathered<S> {
    stream: S,
    /// What was written, of which the first `sent` bytes are on their way.
    out: Vec<u8>,
    sent: usize,
    /// Whether the turn has passed.
    waited: bool,
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    fn new(stream: S) -> Self {
        Self { stream, out: Vec::new(), sent: 0, waited: false }
    }

    /// Sends everything.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.out.len() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.out[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        self.out.clear();
        self.out.shrink_to(FULL);
        (self.sent, self.waited) = (0, false);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.out.len() >= FULL {
            ready!(this.poll_send(cx))?;
        }
        this.out.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.out.is_empty() && !this.waited {
            this.waited = true;
            // Behind the tasks that are ready now.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn what_is_written_in_one_turn_goes_together_and_nothing_is_lost() {
        let (stream, mut other) = duplex(1 << 20);
        let mut stream = Gathered::new(stream);
        let mut cx = Context::from_waker(Waker::noop());
        let mut read = [0; 16];
        stream.write_all(b"head ").await.unwrap();
        assert!(Pin::new(&mut stream).poll_flush(&mut cx).is_pending());
        stream.write_all(b"body").await.unwrap();
        let mut buf = ReadBuf::new(&mut read);
        assert!(Pin::new(&mut other).poll_read(&mut cx, &mut buf).is_pending());
        assert!(Pin::new(&mut stream).poll_flush(&mut cx).is_ready());
        let got = other.read(&mut read).await.unwrap();
        assert_eq!(&read[..got], b"head body");
        // What comes later waits again, and a flush of nothing does not.
        assert!(Pin::new(&mut stream).poll_flush(&mut cx).is_ready());
        stream.write_all(b"next").await.unwrap();
        assert!(Pin::new(&mut stream).poll_flush(&mut cx).is_pending());
        stream.flush().await.unwrap();
        let got = other.read(&mut read).await.unwrap();
        assert_eq!(&read[..got], b"next");
    }

    #[tokio::test]
    async fn a_peer_that_reads_slowly_gets_everything_in_order() {
        let (stream, mut other) = duplex(100);
        let sent: Vec<u8> = (0..251).cycle().take(10 * FULL).collect();
        let expected = sent.clone();
        let writer = tokio::spawn(async move {
            let mut stream = Gathered::new(stream);
            for part in sent.chunks(777) {
                stream.write_all(part).await.unwrap();
            }
            // It is bounded, whatever the peer does.
            assert!(stream.out.len() < FULL + 777);
            stream.shutdown().await.unwrap();
            poll_fn(|cx| Pin::new(&mut stream).poll_flush(cx)).await
        });
        let mut got = Vec::new();
        other.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, expected);
        writer.await.unwrap().unwrap();
    }
}
