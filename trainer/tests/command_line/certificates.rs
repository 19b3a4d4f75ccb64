//! Fetching the dataset behind a proxy that has a certificate authority of its own.

use crate::common::{Place, text};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// The authority's certificate as a file, and a server that it vouches for whatever the client calls it.
fn authority() -> (String, impl Fn(&str) -> Arc<ServerConfig>) {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let pem = issuer.pem();
    let server = move |host: &str| {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([host.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = ServerConfig::builder().with_no_client_auth();
        Arc::new(config.with_single_cert(vec![certificate.der().clone()], key).unwrap())
    };
    (pem, server)
}

/// Answers a client that asks to be connected to a host as that host would: there is no such file.
fn intercept(client: TcpStream, server: impl Fn(&str) -> Arc<ServerConfig>) -> std::io::Result<()> {
    let mut lines = BufReader::new(client.try_clone()?);
    let mut request = String::new();
    while lines.read_line(&mut request)? > 2 {}
    let host = request.strip_prefix("CONNECT ").and_then(|rest| rest.split(':').next()).unwrap().to_owned();
    (&client).write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
    let mut stream = StreamOwned::new(ServerConnection::new(server(&host)).unwrap(), client);
    let _ = stream.read(&mut [0; 4096])?;
    stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    stream.conn.send_close_notify();
    stream.flush()
}

#[test]
fn the_authorities_of_the_system_count() {
    let place = Place::new();
    let (pem, server) = authority();
    fs::write(place.path("authority.pem"), pem).unwrap();
    let (stranger, _) = authority();
    fs::write(place.path("stranger.pem"), stranger).unwrap();
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in proxy.incoming() {
            // A client that does not trust it hangs up.
            let _ = intercept(client.unwrap(), &server);
        }
    });
    // Damaged files in the cache folder are fetched again, whatever else is on this machine.
    let cache = place.path(".cache/resconv/fashion-mnist");
    fs::create_dir_all(&cache).unwrap();
    for file in place.files("data") {
        fs::write(cache.join(file), "cut off").unwrap();
    }
    let fetch = |authorities: &str| {
        let mut command = place.command(&["data"]);
        // Without `apt-get`, which would be the next source.
        command.env("PATH", place.path("none")).env("SSL_CERT_FILE", place.path(authorities));
        for variable in ["SSL_CERT_DIR", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy", "https_proxy"] {
            command.env_remove(variable);
        }
        text(&command.env("HTTPS_PROXY", &address).output().unwrap().stdout)
    };
    let told = fetch("authority.pem");
    assert!(told.contains("; fetching it again\n"), "{told}");
    assert!(told.contains("404") && !told.contains("certificate"), "{told}");
    let told = fetch("stranger.pem");
    assert!(told.contains("invalid peer certificate") && !told.contains("404"), "{told}");
}
