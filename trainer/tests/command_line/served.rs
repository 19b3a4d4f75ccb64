//! `resconv report --serve`, which is stopped by a signal.

use crate::common::{Place, Started, text, train};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;

/// The status line and the body of an answer to `request`, whose lines are given without their ends.
fn answer(port: u16, request: &[&str]) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "{}\r\nConnection: close\r\n\r\n", request.join("\r\n")).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let all = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = all.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[test]
fn a_served_report_is_as_the_folder_is_now_and_only_for_this_machine() {
    let place = Place::new();
    place.succeed(&train(&["--samples=16", "--out=runs/first"]));
    let before = place.files("runs/first");
    let mut child = Started::new(&mut place.command(&["report", "runs", "--serve"]));
    let mut url = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut url).unwrap();
    let port = url
        .strip_prefix("http://127.0.0.1:")
        .and_then(|rest| rest.strip_suffix("/\n"))
        .unwrap_or_else(|| panic!("{url}"));
    let port: u16 = port.parse().unwrap();
    let host = format!("Host: 127.0.0.1:{port}");
    let get = |path: &str| answer(port, &[&format!("GET {path} HTTP/1.1"), &host]);

    let (head, page) = get("/");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("no-store") && head.contains("text/html"), "{head}");
    assert!(page.contains("<strong>first</strong>") && !page.contains("href=\"/run/"), "{page}");
    // Another run appears, with a name that is no path; its page is linked.
    place.succeed(&train(&["--samples=16", "--seed=1", "--out=runs/a b<"]));
    let (_, page) = get("/");
    assert!(page.contains("<a href=\"/run/a%20b%3C\">a b&lt;</a>") && page.contains("/run/first\""), "{page}");
    let (head, page) = get("/run/a%20b%3C");
    assert!(
        head.starts_with("HTTP/1.1 200") && page.contains("<h1>a b&lt;</h1>") && page.contains("href=\"/\""),
        "{page}"
    );

    for (request, host, code) in [
        ("GET /run/../first HTTP/1.1", host.as_str(), "404"),
        ("GET /run/%2e%2e HTTP/1.1", &host, "404"),
        ("GET /../../../../etc/passwd HTTP/1.1", &host, "404"),
        ("GET /runs/first/settings.toml HTTP/1.1", &host, "404"),
        ("GET / HTTP/1.1", "Host: evil.example", "403"),
        ("GET / HTTP/1.1", "Host: localhost.evil.example:80", "403"),
        ("GET / HTTP/1.1", "X: y", "403"),
        ("POST / HTTP/1.1", &host, "405"),
        ("DELETE /run/first HTTP/1.1", &host, "405"),
    ] {
        let (head, body) = answer(port, &[request, host]);
        assert!(head.starts_with(&format!("HTTP/1.1 {code}")) && body.len() < 100, "{request} {host}: {head} {body}");
    }
    let (head, _) = answer(port, &["GET / HTTP/1.1", &format!("Host: localhost:{port}")]);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(place.files("runs/first"), before, "nothing is written");

    let message = place.fail(&["report", "runs", "--serve", &port.to_string()]);
    assert!(message.starts_with(&format!("port {port} of 127.0.0.1: ")) && message.contains("in use"), "{message}");
    assert!(
        message.ends_with("choose another one with --serve PORT, or let the system choose with --serve"),
        "{message}"
    );
    assert!(place.fail(&["report", "data", "--serve"]).contains("no run"));

    let killed = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap();
    assert!(killed.success());
    let output = child.output();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(130), "stopped by SIGINT\n"));
}
