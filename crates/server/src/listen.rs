//! Connections: accepted, limited, perhaps encrypted, and ended in order.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1::Builder;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket2::SockRef;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

/// Most headers of a request.
const HEADERS_MAX: usize = 64;
/// Most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Bytes that the system keeps of what a client has not read.
const SEND_BUFFER_BYTES: usize = 64 << 10;
/// How many times longer a client may take nothing than it may send nothing.
const UNREAD_TIMES: u32 = 2;
/// Pause after an error of the listening socket, such as no free file.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Limits of connections.
#[derive(Clone, Copy, Debug)]
pub struct ListenLimits {
    /// Most connections.
    pub connections_max: u32,
    /// Longest time in which the head of a request, or a TLS handshake, may come. For twice as long a
    /// client may take nothing of what is sent to it: less than about a KiB a second is nothing.
    pub receive_time_max: Duration,
    /// Longest time of a connection; its last request may still be answered.
    pub connection_time_max: Duration,
    /// Longest time of that last answer, for clients that do not read it.
    pub answer_time_max: Duration,
    /// Time that running requests get at the end.
    pub stop_time_max: Duration,
}

/// Why TLS cannot be spoken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file is no PEM of what it should be.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// Certificate and key do not go together, or are of no use.
    #[error("certificate and key: {0}")]
    Pair(#[from] tokio_rustls::rustls::Error),
}

/// TLS from a certificate chain and its key, both PEM.
///
/// # Errors
/// Files that cannot be read or do not go together.
pub fn tls(certificate: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let failed = |path: &Path, error: &dyn std::fmt::Display| TlsError::File {
        path: path.display().to_string(),
        reason: error.to_string(),
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| failed(certificate, &error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, &error))?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until `stop` says so, and then until running requests have ended or their time is up.
///
/// `tell` gets what an operator should know.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    acceptor: Option<TlsAcceptor>,
    limits: ListenLimits,
    mut stop: watch::Receiver<bool>,
    tell: fn(&str),
) {
    let places = Arc::new(Semaphore::new(limits.connections_max as usize));
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, _address): (TcpStream, SocketAddr) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tell(&format!("accepting a connection: {error}"));
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Who comes when all places are taken is let go at once: to wait would fill the queue.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        // A stream's events are small and must not wait for more.
        let _ = stream.set_nodelay(true);
        // What waits in the system is not seen to be read until a good part of it is.
        let _ = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER_BYTES);
        let (router, acceptor, stop) = (router.clone(), acceptor.clone(), stop.clone());
        tokio::spawn(async move {
            let _place = place;
            match acceptor {
                None => talk(stream, router, limits, stop).await,
                Some(acceptor) => {
                    let shaken = timeout(limits.receive_time_max, acceptor.accept(stream)).await;
                    if let Ok(Ok(stream)) = shaken {
                        talk(stream, router, limits, stop).await;
                    }
                }
            }
        });
    }
    drop(listener);
    let ended = timeout(limits.stop_time_max, places.acquire_many(limits.connections_max));
    if ended.await.is_err() {
        tell("some connections did not end in time and were cut off");
    }
}

/// Serves one connection, for as long as a connection may last.
async fn talk<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: Router,
    limits: ListenLimits,
    mut stop: watch::Receiver<bool>,
) {
    let mut builder = Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.receive_time_max)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    let service = TowerToHyperService::new(router);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(UNREAD_TIMES * limits.receive_time_max));
    let connection = builder.serve_connection(TokioIo::new(Box::pin(stream)), service);
    tokio::pin!(connection);
    // It ends with an error whenever a client goes away: nobody needs to know.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stop.wait_for(|stop| *stop) => {}
        () = sleep(limits.connection_time_max) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(limits.answer_time_max, connection).await;
}
