//! Proxies between here and a hub, and servers that speak another scheme than is asked for.

use crate::proxy::{HOST, Proxy, Way, authority, door, serve};
use crate::tools::{Bench, MODEL, Said, model};
use crate::way::{refused, said, silent};

#[test]
fn a_proxy_that_opens_no_tunnel_is_named_with_what_to_do() {
    let bench = Bench::new(vec![]);
    let hub = "https://hub.test:8443";
    for status in [403, 502] {
        let proxy = Proxy::start(Way::Status(status));
        let named = format!("http://me:secret@{}", proxy.address);
        refused(
            &said(&bench, hub, &[("HTTPS_PROXY", &named)]),
            &[
                "cannot reach https://hub.test:8443",
                &format!("the proxy {} (HTTPS_PROXY)", proxy.address),
                "opens no connection to hub.test:8443; ask whoever runs it",
                "Or it cannot get there itself, or it is no HTTP proxy",
                "hub.test in NO_PROXY",
            ],
            &["secret", "HF_TOKEN", "hf auth"],
        );
        assert!(proxy.seen().iter().all(|head| head.starts_with("CONNECT hub.test:8443 ")));
    }
    let proxy = Proxy::start(Way::Status(407));
    let remedy = format!("HTTPS_PROXY=http://USER:PASSWORD@{}", proxy.address);
    for (login, told) in [("", "wants a user"), ("me:secret@", "does not accept the user")] {
        let named = format!("http://{login}{}", proxy.address);
        refused(&said(&bench, hub, &[("HTTPS_PROXY", &named)]), &[told, &remedy, "407"], &["secret"]);
    }
    // Of the lower case, and of all.
    for variable in ["https_proxy", "ALL_PROXY", "all_proxy"] {
        let said = said(&bench, hub, &[(variable, &format!("http://{}", proxy.address))]);
        refused(&said, &[&format!("({variable})"), &format!("{variable}=http://USER")], &[]);
    }
}

#[test]
fn a_proxys_answer_to_plain_http_is_not_taken_for_the_hubs() {
    let bench = Bench::new(vec![]);
    for (status, remedy) in [(403, "NO_PROXY"), (407, "http_proxy=http://USER:PASSWORD@"), (502, "NO_PROXY")]
    {
        let proxy = Proxy::start(Way::Status(status));
        let said = said(&bench, "http://hub.test", &[("http_proxy", &proxy.address)]);
        let named = format!("the proxy {} (http_proxy)", proxy.address);
        refused(
            &said,
            &["cannot reach http://hub.test:80", &named, &status.to_string(), remedy],
            &["HF_TOKEN"],
        );
    }
    // The hub's own word stays its own, though a proxy passes it on.
    let mut private = model(60_000);
    private.token = Some("hf_secret".into());
    let bench = Bench::new(vec![private]);
    let proxy = Proxy::start(Way::To(bench.server.address().replace("http://", "")));
    let said = said(&bench, "http://hub.test", &[("HTTP_PROXY", &proxy.address)]);
    refused(&said, &["(401)", "HF_TOKEN"], &["proxy"]);
}

#[test]
fn a_tunnel_is_taken_unless_no_proxy_names_the_host() {
    let bench = Bench::new(vec![model(60_000)]);
    let proxy = Proxy::start(Way::To(door(&bench.server.address())));
    let endpoint = format!("https://{HOST}");
    let certificates = authority().display().to_string();
    let through = |variable: &str, no: (&str, &str)| {
        let environment = [(variable, proxy.address.as_str()), ("SSL_CERT_FILE", &certificates), no];
        said(&bench, &endpoint, &environment)
    };
    for variable in ["HTTPS_PROXY", "https_proxy", "all_proxy"] {
        // The store of files is on this machine, and asked for without it.
        bench.check(&through(variable, ("NO_PROXY", "example.com, 127.0.0.1")).dir());
        let seen = proxy.seen();
        assert!(
            !seen.is_empty() && seen.iter().all(|head| head.starts_with("CONNECT hub.test:443 ")),
            "{seen:?}"
        );
        std::fs::remove_dir_all(bench.path(".cache")).unwrap();
    }
    for no in ["NO_PROXY", "no_proxy"] {
        let said = through("https_proxy", (no, "localhost, .test"));
        refused(&said, &["cannot reach https://hub.test:443"], &["the proxy"]);
        assert!(proxy.seen().is_empty());
    }
    // Without the company's certificate.
    let said = said(&bench, &endpoint, &[("HTTPS_PROXY", &proxy.address)]);
    refused(&said, &["SSL_CERT_FILE"], &[]);
}

#[test]
fn a_variable_that_names_no_proxy_is_named() {
    let bench = Bench::new(vec![]);
    let hub = "https://hub.test";
    refused(
        &said(&bench, hub, &[("HTTPS_PROXY", "garbage.invalid")]),
        &["the proxy garbage.invalid:80, which HTTPS_PROXY names, is not to be reached", "NO_PROXY"],
        &[],
    );
    refused(
        &said(&bench, "http://hub.test", &[("http_proxy", "http://me:secret@127.0.0.1:1")]),
        &["the proxy 127.0.0.1:1, which http_proxy names, is not to be reached"],
        &["secret"],
    );
    refused(
        &said(&bench, hub, &[("ALL_PROXY", "socks5h://me:secret@127.0.0.1:1")]),
        &["the proxy 127.0.0.1:1, which ALL_PROXY names, is not to be reached"],
        &["secret"],
    );
    let said_of =
        |port: &str| said(&bench, hub, &[("HTTPS_PROXY", &format!("http://me:secret@proxy.invalid:{port}"))]);
    refused(&said_of("99999"), &["HTTPS_PROXY holds no address of a proxy (its port", "65535"], &["secret"]);
    for letter in ["/", "?", "#"] {
        let value = format!("http://me:secret{letter}x@127.0.0.1:99");
        let said = said(&bench, hub, &[("HTTPS_PROXY", &value)]);
        refused(&said, &["HTTPS_PROXY holds no address", "/ is written %2F"], &["secret", "65535"]);
    }
    refused(&said_of(""), &["the proxy proxy.invalid:80"], &["secret"]);
    for (scheme, other) in [("socks5", "socks5h"), ("socks4", "socks4a")] {
        refused(
            &said(&bench, "https://hub.invalid", &[("ALL_PROXY", &format!("{scheme}://127.0.0.1:1"))]),
            &[
                "looked up on this machine",
                &format!("ALL_PROXY={other}://127.0.0.1:1 has the proxy look it up"),
            ],
            &[],
        );
    }
    for value in [
        "ftp://me:secret@proxy:1",
        "http://me:secret@",
        "a b",
        ":",
        ":8080",
        "http://:",
        "http://me:secret@:1",
    ] {
        let said = said(&bench, hub, &[("HTTPS_PROXY", value)]);
        refused(&said, &["HTTPS_PROXY holds no address of a proxy", "http://HOST:PORT"], &["secret"]);
    }
}

#[test]
fn a_server_without_tls_is_told_with_its_scheme() {
    let bench = Bench::new(vec![]);
    let plain = serve(|stream| {
        std::io::Write::write_all(&mut &stream, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")?;
        std::io::copy(&mut &stream, &mut std::io::sink()).map(drop)
    });
    for (hub, variable) in
        [("modelscope", "MODELSCOPE_DOMAIN"), ("modelscope", "MODELSCOPE_ENDPOINT"), ("hf", "HF_ENDPOINT")]
    {
        let mut command = bench.program(&["pull", MODEL, "--hub", hub]);
        command.env_remove("MODELSCOPE_DOMAIN").env(variable, &plain);
        refused(
            &Said::of(command.output().unwrap()),
            &["without TLS", &format!("{variable}=http://{plain}")],
            &[],
        );
    }
}

/// What hangs up, and what speaks no HTTP.
#[test]
fn what_is_no_proxy_is_named_with_its_variable() {
    let bench = Bench::new(vec![]);
    let hangs_up = serve(|_| Ok(()));
    let garbage = serve(|stream| {
        std::io::Write::write_all(&mut &stream, b"220 mail.test ESMTP\r\n\r\n")?;
        std::io::copy(&mut &stream, &mut std::io::sink()).map(drop)
    });
    for address in [hangs_up, garbage] {
        refused(
            &said(&bench, "http://hub.test", &[("http_proxy", &address)]),
            &[
                "the connection to hub.test was cut",
                &format!("through the proxy {address} (http_proxy): perhaps it is no HTTP proxy"),
                "hub.test in NO_PROXY",
            ],
            &[],
        );
        refused(
            &said(&bench, "https://hub.test", &[("https_proxy", &address)]),
            &[
                &format!("the proxy {address} (https_proxy) opens no connection to hub.test:443"),
                "it is no HTTP proxy",
            ],
            &[],
        );
    }
}

#[test]
fn a_proxy_that_says_nothing_is_named() {
    let bench = Bench::new(vec![]);
    let (_listener, address) = silent();
    refused(
        &said(&bench, "http://hub.test", &[("http_proxy", &address)]),
        &[
            &format!(
                "http://hub.test:80 has not answered within 9 s, through the proxy {address} (http_proxy)"
            ),
            "hub.test in NO_PROXY",
        ],
        &[],
    );
}

#[test]
fn a_page_that_opens_every_tunnel_is_told_from_a_proxy() {
    let bench = Bench::new(vec![]);
    let proxy = Proxy::start(Way::Status(200));
    refused(
        &said(&bench, "https://hub.test", &[("HTTPS_PROXY", &proxy.address)]),
        &[
            &format!(
                "through the proxy {} (HTTPS_PROXY), which says that it has opened the connection",
                proxy.address
            ),
            "perhaps it is no proxy but a page, such as a login's",
            "hub.test in NO_PROXY",
        ],
        &[],
    );
}

#[test]
fn a_socks_proxy_that_wants_a_login_is_told_to() {
    let bench = Bench::new(vec![]);
    let proxy = serve(|mut stream| {
        // Version, how many ways to log in, those.
        let mut offer = [0; 3];
        std::io::Read::read_exact(&mut stream, &mut offer)?;
        std::io::Write::write_all(&mut stream, &[5, 0xff])
    });
    // What this machine need not look up; nobody has that address.
    for (scheme, name) in [("socks5", "192.0.2.1"), ("socks5h", "hub.test")] {
        let address = format!("{scheme}://{proxy}");
        let wants = format!(
            "the proxy {proxy} (ALL_PROXY) wants a user and a password: ALL_PROXY=socks5h://USER:PASSWORD@{proxy}"
        );
        for hub in ["http", "https"].map(|scheme| format!("{scheme}://{name}")) {
            refused(&said(&bench, &hub, &[("ALL_PROXY", &address)]), &[&wants], &["407"]);
        }
    }
}

#[test]
fn a_proxy_that_is_asked_by_https_and_has_no_tls_is_told_with_http() {
    let bench = Bench::new(vec![]);
    let proxy = serve(|mut stream| {
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
        std::io::copy(&mut stream, &mut std::io::sink()).map(drop)
    });
    let address = format!("https://{proxy}");
    for hub in ["http://hub.test", "https://hub.test"] {
        let variable = if hub.starts_with("https") { "https_proxy" } else { "http_proxy" };
        let told = format!("answers without TLS: {variable}=http://{proxy}");
        refused(&said(&bench, hub, &[(variable, &address)]), &[&told], &[]);
    }
}
