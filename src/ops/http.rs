//! The admin port: metrics, health and the log by HTTP, on the control thread.
//!
//! A connection carries one request and is closed; how long it lives, how much it may send and how many there are is
//! bounded, so a client can neither hold the control thread up nor fill its memory. What locks shards is gathered on
//! another thread: a lock may be held by a command over much data, and agreement must not wait for that.

use std::{convert::Infallible, sync::Arc, time::Duration};

use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use super::{Ops, exposition, facts::Facts, health, metrics::METRICS};
use crate::{control::status, log, tasks};

/// Connections that are served at once; more wait until one of these ends.
pub const CONNECTIONS: usize = 64;

/// Time from the first byte of a request to the last of its answer; then the connection is closed.
const CONNECTION_LIMIT: Duration = Duration::from_secs(5);

/// Time that an answer may take to be put together, so that there is some left to send it.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// Bytes of a request's line and headers: the least that the library takes.
const HEADER_LIMIT: usize = 8 << 10;

/// Headers of a request.
const HEADERS: usize = 64;

/// Answers that are gathered from shards at once, each on a thread of its own.
const GATHERED_AT_ONCE: usize = 2;

/// Pause after a connection could not be accepted: for want of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

type Answer = Response<String>;

/// The server.
struct Server {
    ops: Arc<Ops>,
    gathered: Arc<Semaphore>,
}

/// Takes connections in for as long as the node runs.
pub async fn serve(ops: Arc<Ops>, listener: TcpListener) {
    let server = Arc::new(Server { ops, gathered: Arc::new(Semaphore::new(GATHERED_AT_ONCE)) });
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let server = Arc::clone(&server);
                tasks::control("admin", async move {
                    let _place = place;
                    server.converse(stream).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection of the admin port could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Server {
    async fn converse(self: Arc<Self>, stream: TcpStream) {
        let service = service_fn(|request| {
            let server = Arc::clone(&self);
            async move { Ok::<_, Infallible>(server.answer(&request).await) }
        });
        let connection = http1::Builder::new()
            .keep_alive(false)
            .max_buf_size(HEADER_LIMIT)
            .max_headers(HEADERS)
            .serve_connection(TokioIo::new(stream), service);
        match tokio::time::timeout(CONNECTION_LIMIT, connection).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a connection of the admin port ended early"),
            Err(_) => tracing::debug!("a client of the admin port was too slow"),
        }
    }

    async fn answer(&self, request: &Request<Incoming>) -> Answer {
        let allowed = match request.uri().path() {
            "/metrics" | "/healthz" | "/readyz" | "/status" => "GET, HEAD",
            "/log" => "PUT",
            _ => {
                let paths = "there are GET /metrics, /healthz, /readyz, /status and PUT /log?filter=...";
                return plain(StatusCode::NOT_FOUND, paths);
            }
        };
        match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/metrics") => self.gather(metrics).await,
            (&Method::GET | &Method::HEAD, "/healthz") => verdict(health::health(&self.ops)),
            (&Method::GET | &Method::HEAD, "/readyz") => {
                self.gather(|ops| verdict(health::readiness(ops))).await
            }
            (&Method::GET | &Method::HEAD, "/status") => self.gather(status).await,
            (&Method::PUT, "/log") => set_log(request.uri().query().unwrap_or_default()),
            _ => {
                let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, &format!("this path takes {allowed}"));
                answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
                answer
            }
        }
    }

    /// Puts an answer together on another thread.
    async fn gather(&self, work: fn(&Ops) -> Answer) -> Answer {
        let gathering = async {
            let turn = Arc::clone(&self.gathered).acquire_owned().await;
            let ops = Arc::clone(&self.ops);
            let on_thread = move || {
                // Kept until the work is done, even if nobody waits for it any more.
                let _turn = turn;
                work(&ops)
            };
            tokio::task::spawn_blocking(on_thread).await
        };
        match tokio::time::timeout(ANSWER_LIMIT, gathering).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                tracing::error!(%error, "an answer of the admin port failed");
                plain(StatusCode::INTERNAL_SERVER_ERROR, "the answer failed; the log says why")
            }
            Err(_) => {
                plain(StatusCode::SERVICE_UNAVAILABLE, "a command has kept a shard for too long; ask again")
            }
        }
    }
}

fn metrics(ops: &Ops) -> Answer {
    answer(StatusCode::OK, exposition::CONTENT_TYPE, exposition::text(METRICS, &Facts::gather(ops)))
}

fn status(ops: &Ops) -> Answer {
    match ops.watched.get() {
        Some(watched) => answer(StatusCode::OK, JSON, status::json(&watched.node, &watched.council)),
        None => plain(StatusCode::SERVICE_UNAVAILABLE, "the cluster does not know this node yet"),
    }
}

fn verdict(verdict: health::Verdict) -> Answer {
    match verdict {
        Ok(text) => plain(StatusCode::OK, &text),
        Err(text) => plain(StatusCode::SERVICE_UNAVAILABLE, &text),
    }
}

fn set_log(query: &str) -> Answer {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    match pairs.find(|(name, _)| name == "filter") {
        None => plain(StatusCode::BAD_REQUEST, "say what is to be logged: PUT /log?filter=debug"),
        Some((_, filter)) => match log::set(&filter) {
            Ok(()) => plain(StatusCode::OK, &format!("the log's filter is {filter}")),
            Err(error) => plain(StatusCode::BAD_REQUEST, &error.to_string()),
        },
    }
}

fn plain(status: StatusCode, text: &str) -> Answer {
    answer(status, TEXT, format!("{text}\n"))
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
