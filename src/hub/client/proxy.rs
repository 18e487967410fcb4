//! The proxy on the way to a server, as the environment names it, and what is told of it where it lets nothing through.

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{StatusCode, Url};

use super::fault::{Fault, Kind};
use super::http::host;

/// A proxy that requests go through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// The variable that names it.
    pub variable: &'static str,
    /// `HOST:PORT`, never the user and password that may stand before it.
    pub server: String,
    /// Whether the variable has a user.
    has_login: bool,
    /// `http`, `https` or one of the `socks`.
    scheme: String,
}

/// The first of two variables that is set, even to nothing: as `reqwest` and curl take them.
fn first_set(names: [&'static str; 2]) -> Option<(&'static str, String)> {
    names.into_iter().find_map(|name| Some((name, std::env::var(name).ok()?)))
}

impl Proxy {
    /// The one that `reqwest` takes for `url`; none where it goes straight there.
    ///
    /// # Errors
    /// The variable holds no address of a proxy: `reqwest` would go straight without a word.
    pub fn of(url: &Url) -> Result<Option<Proxy>, Fault> {
        let Ok(uri) = url.as_str().parse() else { return Ok(None) };
        let no = first_set(["NO_PROXY", "no_proxy"]).map(|(_, no)| no).unwrap_or_default();
        let any = Matcher::builder().all("http://proxy").no(no).build();
        // In a CGI program HTTP_PROXY is a header of whoever asks.
        if any.intercept(&uri).is_none() || std::env::var_os("REQUEST_METHOD").is_some() {
            return Ok(None);
        }
        let own = match url.scheme() {
            "https" => ["HTTPS_PROXY", "https_proxy"],
            _ => ["HTTP_PROXY", "http_proxy"],
        };
        for (variable, value) in [first_set(own), first_set(["ALL_PROXY", "all_proxy"])].into_iter().flatten()
        {
            if value.is_empty() {
                continue;
            }
            // What stands before the last @ would end at it, and the rest be taken for the server.
            let rest = value.split_once("://").map_or(value.as_str(), |(_, rest)| rest);
            if rest.rsplit_once('@').is_some_and(|(login, _)| login.contains(['/', '?', '#'])) {
                let why = " (in its user and password / is written %2F, ? %3F and # %23)";
                return Err(no_address(variable, why));
            }
            let taken = Matcher::builder().all(value).build().intercept(&uri);
            let Some((taken, name)) = taken
                .and_then(|t| Some((t.clone(), t.uri().host()?.to_owned())))
                .filter(|(_, name)| !name.is_empty())
            else {
                return Err(no_address(variable, ""));
            };
            // `reqwest` would take the usual port for one that is none.
            let port = taken
                .uri()
                .authority()
                .and_then(|whole| whole.as_str().strip_prefix(&name)?.strip_prefix(':'));
            if port.is_some_and(|port| !port.is_empty() && port.parse::<u16>().is_err()) {
                return Err(no_address(variable, " (its port is none; they end at 65535)"));
            }
            let scheme = taken.uri().scheme_str().unwrap_or_default();
            let usual = match scheme {
                "http" => 80,
                "https" => 443,
                _ => 1080,
            };
            return Ok(Some(Proxy {
                variable,
                server: format!("{name}:{}", taken.uri().port_u16().unwrap_or(usual)),
                has_login: taken.basic_auth().is_some() || taken.raw_auth().is_some(),
                scheme: scheme.to_owned(),
            }));
        }
        Ok(None)
    }

    /// Why no connection to `url` came about: `errors` is the chain of errors, of which `why` is the innermost.
    pub fn failed(&self, url: &Url, why: &str, errors: &str) -> String {
        let Proxy { variable, server, .. } = self;
        // The words of hyper-util's tunnel, which tells no status.
        if errors.contains("proxy authorization required") {
            return self.wants_a_login(" (407)");
        }
        // Of its SOCKS: no way to log in that both know, one that was not offered, and a login that was refused.
        let of_login = [
            "server does not support user/pass authentication",
            "server implements authentication incorrectly",
            "credentials not accepted",
        ];
        if self.is_socks() && of_login.iter().any(|words| errors.contains(words)) {
            return self.wants_a_login("");
        }
        let not_there = errors.contains("failed to create underlying connection");
        let is_plain = ["InvalidContentType", "handshake eof"].iter().any(|words| errors.contains(words));
        if self.scheme == "https" && is_plain && (not_there || !errors.contains("tunnel error: ")) {
            return format!(
                "the proxy {server} ({variable}) answers without TLS: {variable}=http://{server}"
            );
        }
        let port = url.port_or_known_default().unwrap_or(443);
        let name = url.host_str().unwrap_or_default();
        if errors.contains("tunnel error: ") && !not_there {
            let others = self.others(url);
            return format!(
                "the proxy {server} ({variable}) opens no connection to {name}:{port}; ask whoever runs it to allow that. \
                 Or it cannot get there itself, or it is no HTTP proxy: {others}"
            );
        }
        if errors.contains("error resolving for socks proxy") {
            let scheme = if self.scheme == "socks4" { "socks4a" } else { "socks5h" };
            return format!(
                "{why}: with {}:// the name {name} is looked up on this machine, before the proxy {server} is asked; \
                 {variable}={scheme}://{server} has the proxy look it up",
                self.scheme
            );
        }
        let ends = ["onnection reset", "roken pipe"].iter().any(|words| errors.contains(words));
        if url.scheme() == "https" && !self.is_socks() && !not_there && (is_plain || ends) {
            return format!(
                "{why}, through the proxy {server} ({variable}), which says that it has opened the connection to {name}:{port}, \
                 and no TLS comes: perhaps it is no proxy but a page, such as a login's, or it ends what it does not allow; {}",
                self.others(url)
            );
        }
        // A plain request goes to the proxy itself; a tunnel says so where it does not get there.
        let gets_there = url.scheme() == "https" || self.is_socks();
        if gets_there && !not_there {
            return format!("{why}, through the proxy {server} ({variable}); {}", self.others(url));
        }
        format!(
            "the proxy {server}, which {variable} names, is not to be reached: {why}; {}",
            self.others(url)
        )
    }

    /// A connection to the proxy, which is to answer for `url`, that ended before the answer did.
    pub fn cut(&self, url: &Url, why: &str) -> String {
        let Proxy { variable, server, .. } = self;
        format!(
            "the connection to {} was cut ({why}), through the proxy {server} ({variable}): perhaps it is no HTTP proxy; {}",
            host(url),
            self.others(url)
        )
    }

    /// What a proxy, which is to answer for `url`, has not said in time: `what` tells how long.
    pub fn silent(&self, url: &Url, what: &str) -> String {
        let Proxy { variable, server, .. } = self;
        format!(
            "{what}, through the proxy {server} ({variable}): perhaps it is the proxy that is silent; {}",
            self.others(url)
        )
    }

    pub fn is_socks(&self) -> bool {
        self.scheme.starts_with("socks")
    }

    /// What an answer means that a proxy gave in the place of a server that is asked by plain http; none where it is no
    /// such answer.
    pub fn answered(&self, url: &Url, status: StatusCode) -> Option<String> {
        let Proxy { variable, server, .. } = self;
        match status.as_u16() {
            407 => Some(self.wants_a_login(" (407)")),
            code @ (403 | 500..=599) => Some(format!(
                "the answer through the proxy {server} ({variable}) is {code}, which is not the hub's own; ask whoever runs \
                 it to allow {}, {}",
                host(url),
                self.others(url)
            )),
            _ => None,
        }
    }

    /// `code`: the status that says so, where there is one.
    fn wants_a_login(&self, code: &str) -> String {
        let Proxy { variable, server, .. } = self;
        let scheme = match self.scheme.as_str() {
            // What looks names up on this machine as well.
            "socks5" => "socks5h",
            scheme => scheme,
        };
        let told = if self.has_login {
            format!("does not accept the user and password that stand in {variable}")
        } else {
            "wants a user and a password".to_owned()
        };
        format!("the proxy {server} ({variable}) {told}{code}: {variable}={scheme}://USER:PASSWORD@{server}")
    }

    fn others(&self, url: &Url) -> String {
        let name = url.host_str().unwrap_or_default();
        format!("name another proxy in {}, or {name} in NO_PROXY where none is needed", self.variable)
    }
}

fn no_address(variable: &str, why: &str) -> Fault {
    let message = format!(
        "{variable} holds no address of a proxy{why}: set it to http://HOST:PORT (socks5://HOST:PORT), or to nothing where \
         none is needed"
    );
    Fault::new(Kind::Other, message)
}
