//! What the environment says of the hub: the variables that Hugging Face's libraries read.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::error::HubError;

/// The variables of a process; an empty one is absent.
#[derive(Clone, Copy)]
pub(crate) struct Environment<'a>(&'a dyn Fn(&str) -> Option<OsString>);

impl Environment<'static> {
    /// Those of this process.
    pub(crate) const OWN: Self = Self(&|name| std::env::var_os(name));
}

impl Environment<'_> {
    fn os(&self, name: &str) -> Option<OsString> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// A folder or file; `~` is the home.
    fn path(&self, name: &str) -> Result<Option<PathBuf>, HubError> {
        let Some(path) = self.os(name).map(PathBuf::from) else { return Ok(None) };
        match path.strip_prefix("~") {
            Ok(rest) => Ok(Some(self.user()?.join(rest))),
            Err(_) => Ok(Some(path)),
        }
    }

    fn user(&self) -> Result<PathBuf, HubError> {
        let home = self.os("HOME").map(PathBuf::from).or_else(std::env::home_dir);
        home.ok_or(HubError::NoHome)
    }

    /// `HF_HOME`.
    fn home(&self) -> Result<PathBuf, HubError> {
        if let Some(home) = self.path("HF_HOME")? {
            return Ok(home);
        }
        let caches = match self.path("XDG_CACHE_HOME")? {
            Some(caches) => caches,
            None => self.user()?.join(".cache"),
        };
        Ok(caches.join("huggingface"))
    }

    /// Where models are kept.
    pub(crate) fn cache(&self) -> Result<PathBuf, HubError> {
        for name in ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"] {
            if let Some(path) = self.path(name)? {
                return Ok(path);
            }
        }
        Ok(self.home()?.join("hub"))
    }
}

#[cfg(feature = "download")]
impl Environment<'_> {
    fn text(&self, name: &str) -> Option<String> {
        self.os(name)?.into_string().ok().map(|text| text.trim().to_owned())
    }

    fn is_true(&self, name: &str) -> bool {
        let text = self.text(name).unwrap_or_default().to_ascii_lowercase();
        ["1", "on", "yes", "true"].contains(&&*text)
    }

    /// The variable that forbids to go to the network, if one does.
    pub(crate) fn offline(&self) -> Option<&'static str> {
        ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].into_iter().find(|name| self.is_true(name))
    }

    /// Where the hub is.
    pub(crate) fn endpoint(&self) -> String {
        self.text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into())
    }

    /// The user's token, if there is one.
    pub(crate) fn token(&self) -> Result<Option<String>, HubError> {
        if self.is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            return Ok(None);
        }
        if let Some(token) = self.text("HF_TOKEN") {
            return Ok(Some(token));
        }
        let path = match self.path("HF_TOKEN_PATH")? {
            Some(path) => path,
            None => self.home()?.join("token"),
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|token| !token.is_empty())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(HubError::Io { path, source }),
        }
    }

    /// The proxy that leads to `host` by `scheme`, if one does.
    pub(crate) fn proxy(&self, scheme: &str, host: &str) -> Option<String> {
        let either = |name: &str| {
            // `HTTP_PROXY` of a web server's child is a header of a request.
            let is_header = name == "http_proxy" && self.os("REQUEST_METHOD").is_some();
            let upper = || if is_header { None } else { self.text(&name.to_ascii_uppercase()) };
            self.text(name).or_else(upper)
        };
        let excluded = either("no_proxy").unwrap_or_default();
        if excluded.split(',').any(|rule| is_host_of(host, rule.trim())) {
            return None;
        }
        either(&format!("{scheme}_proxy")).or_else(|| either("all_proxy"))
    }
}

/// Whether a rule of `NO_PROXY` is about `host`: it names it, or a domain above it, or is `*`.
#[cfg(feature = "download")]
fn is_host_of(host: &str, rule: &str) -> bool {
    let domain = rule.strip_prefix("*.").unwrap_or(rule).trim_start_matches('.');
    if domain.is_empty() || domain == "*" {
        return domain == "*";
    }
    let (host, domain) = (host.to_ascii_lowercase(), domain.to_ascii_lowercase());
    host == domain || host.strip_suffix(&*domain).is_some_and(|above| above.ends_with('.'))
}

impl std::fmt::Debug for Environment<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Environment")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn with<T>(variables: &[(&str, &str)], read: impl FnOnce(Environment<'_>) -> T) -> T {
        let find = |name: &str| {
            let found = variables.iter().find(|variable| variable.0 == name);
            found.map(|variable| variable.1.into())
        };
        read(Environment(&find))
    }

    #[test]
    fn the_cache_lies_where_the_first_variable_says() {
        let all = [
            ("HF_HUB_CACHE", "/one"),
            ("HUGGINGFACE_HUB_CACHE", "/two"),
            ("HF_HOME", "~/three"),
            ("XDG_CACHE_HOME", "/four"),
            ("HOME", "/home/me"),
        ];
        let expected = [
            "/one",
            "/two",
            "/home/me/three/hub",
            "/four/huggingface/hub",
            "/home/me/.cache/huggingface/hub",
        ];
        for (from, expected) in expected.into_iter().enumerate() {
            let cache = with(&all[from..], |environment| environment.cache().unwrap());
            assert_eq!(cache, Path::new(expected));
        }
        let empty = [("HF_HUB_CACHE", ""), ("HF_HOME", "/three")];
        assert_eq!(with(&empty, |e| e.cache().unwrap()), Path::new("/three/hub"));
    }

    #[cfg(feature = "download")]
    #[test]
    fn the_token_is_the_first_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(place("token"), "hf_home\n").unwrap();
        std::fs::write(place("other"), " hf_other ").unwrap();
        let (home, other, none) = (place(""), place("other"), place("none"));
        let all = [("HF_TOKEN", "hf_own"), ("HF_TOKEN_PATH", &other), ("HF_HOME", &home)];
        for (from, expected) in ["hf_own", "hf_other", "hf_home"].into_iter().enumerate() {
            let token = with(&all[from..], |environment| environment.token().unwrap());
            assert_eq!(token.as_deref(), Some(expected));
        }
        assert_eq!(with(&[("HF_HOME", &none)], |e| e.token().unwrap()), None);
        let unwanted = [("HF_TOKEN", "hf_own"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")];
        assert_eq!(with(&unwanted, |e| e.token().unwrap()), None);
    }

    #[cfg(feature = "download")]
    #[test]
    fn a_proxy_is_that_of_the_scheme_unless_the_host_is_excluded() {
        let variables = [
            ("https_proxy", "http://a:1"),
            ("HTTP_PROXY", "http://b:2"),
            ("NO_PROXY", "localhost, .inside.org,*.lab"),
        ];
        let proxy = |scheme, host| with(&variables, |e| e.proxy(scheme, host));
        assert_eq!(proxy("https", "huggingface.co").as_deref(), Some("http://a:1"));
        assert_eq!(proxy("http", "huggingface.co").as_deref(), Some("http://b:2"));
        for host in ["localhost", "inside.org", "hub.INSIDE.org", "x.lab"] {
            assert_eq!(proxy("https", host), None, "{host}");
        }
        for host in ["localhost.org", "outinside.org", "collab"] {
            assert!(proxy("https", host).is_some(), "{host}");
        }
        let all = [("ALL_PROXY", "http://c:3")];
        assert_eq!(with(&all, |e| e.proxy("https", "a")).as_deref(), Some("http://c:3"));
        let none = [("ALL_PROXY", "http://c:3"), ("no_proxy", "*")];
        assert_eq!(with(&none, |e| e.proxy("https", "a")), None);
        let of_a_server = [("HTTP_PROXY", "http://d:4"), ("REQUEST_METHOD", "GET")];
        assert_eq!(with(&of_a_server, |e| e.proxy("http", "a")), None);
    }

    #[cfg(feature = "download")]
    #[test]
    fn offline_is_what_means_yes() {
        for (value, expected) in [("1", true), ("True", true), ("on", true), ("0", false)] {
            let offline = with(&[("HF_HUB_OFFLINE", value)], |e| e.offline());
            assert_eq!(offline.is_some(), expected, "{value}");
        }
    }
}
