//! The report on a local port, made anew of the folders at each request.
//!
//! Only programs of this machine reach it. A page of another site that a browser shows may ask it, too, but gets
//! nothing to read: a request must name this machine as its host, so that no name of another site can stand for it (DNS
//! rebinding). No part of a request becomes a path: a run's page is found by comparing names.

use super::content::Content;
use super::page::{View, address};
use super::{ReportError, Request};
use crate::system::stop;
use std::convert::Infallible;
use std::io::Cursor;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;
use tiny_http::{Header, Method, Response};

/// Signals are looked for this often.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What browsers are told beside the page: to keep nothing, to show it in no other page, and to take it as what it is.
const HEADERS: [(&str, &str); 3] =
    [("Cache-Control", "no-store"), ("X-Frame-Options", "DENY"), ("X-Content-Type-Options", "nosniff")];

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// A report that browsers of this machine can read.
pub struct Server {
    request: Request,
    http: tiny_http::Server,
    port: u16,
}

type Answer = Response<Cursor<Vec<u8>>>;

impl Server {
    /// Opens a port of 127.0.0.1: this one, or one that is free for 0.
    ///
    /// # Errors
    /// [`ReportError::Port`] if it is in use or not allowed; otherwise as [`write`](super::write), if there is nothing
    /// to show.
    pub fn open(request: Request, port: u16) -> Result<Server, ReportError> {
        Content::of(&request)?;
        let taken = |reason: String| ReportError::Port { port, reason };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| taken(error.to_string()))?;
        let port = listener.local_addr().map_err(ReportError::Serve)?.port();
        let http = tiny_http::Server::from_listener(listener, None).map_err(|error| taken(error.to_string()))?;
        Ok(Server { request, http, port })
    }

    /// The address of the report.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Answers requests until the process is asked to stop.
    ///
    /// # Errors
    /// [`ReportError::Stopped`] with the signal that asked, [`ReportError::Serve`].
    pub fn run(&self) -> Result<Infallible, ReportError> {
        stop::catch_signals().map_err(ReportError::Serve)?;
        loop {
            if let Some(signal) = stop::requested() {
                return Err(ReportError::Stopped(signal));
            }
            if let Some(request) = self.http.recv_timeout(LOOK_EVERY).map_err(ReportError::Serve)? {
                let host = request.headers().iter().find(|header| header.field.equiv("Host"));
                let host = host.map(|header| header.value.as_str());
                let answer = self.answer(request.method(), host, request.url());
                // The reader may have gone.
                let _ = request.respond(answer);
            }
        }
    }

    fn answer(&self, method: &Method, host: Option<&str>, url: &str) -> Answer {
        if !host.is_some_and(|host| self.is_own(host)) {
            return text(403, "this report is only for browsers of its machine");
        }
        if *method != Method::Get {
            return text(405, "expected GET");
        }
        let path = url.split(['?', '#']).next().unwrap_or_default();
        if path == "/favicon.ico" {
            return response(204, TEXT, String::new());
        }
        let content = match Content::of(&self.request) {
            Ok(content) => content,
            Err(error) => return text(500, &error.to_string()),
        };
        if path == "/" {
            return response(200, HTML, content.page(View::All));
        }
        let chosen = content.runs.iter().position(|run| address(&run.name) == path);
        match chosen {
            Some(run) => response(200, HTML, content.only(run).page(View::One)),
            None => text(404, "there is no such run"),
        }
    }

    /// Whether a request's host is this server.
    fn is_own(&self, host: &str) -> bool {
        // Browsers leave port 80 out.
        let (name, port) = host.rsplit_once(':').unwrap_or((host, "80"));
        ["127.0.0.1", "localhost"].contains(&name) && port == self.port.to_string()
    }
}

fn text(code: u16, message: &str) -> Answer {
    response(code, TEXT, format!("{message}\n"))
}

fn response(code: u16, kind: &str, content: String) -> Answer {
    let headers = HEADERS.into_iter().chain([("Content-Type", kind)]);
    headers.fold(Response::from_data(content).with_status_code(code), |response, (name, value)| {
        let header = Header::from_bytes(name, value).expect("a header of visible characters");
        response.with_header(header)
    })
}
