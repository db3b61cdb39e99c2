//! Where an index is: a folder here, or a collection on a server, `qdrant://HOST:PORT/COLLECTION`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// `--index`.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Folder(PathBuf),
    Cluster(Address),
}

/// `--to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) engine: EngineName,
    /// Whether the connection is encrypted.
    pub(crate) is_secure: bool,
    /// `HOST:PORT`.
    pub(crate) server: String,
    pub(crate) collection: String,
}

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EngineName {
    Qdrant,
    Milvus,
}

impl EngineName {
    const ALL: [Self; 2] = [Self::Qdrant, Self::Milvus];

    /// As in an address; the feature that it needs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Qdrant => "qdrant",
            Self::Milvus => "milvus",
        }
    }
}

impl Address {
    /// The server for a client of gRPC.
    #[cfg(any(feature = "qdrant", feature = "milvus"))]
    pub(crate) fn url(&self) -> String {
        format!("http{}://{}", if self.is_secure { "s" } else { "" }, self.server)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { engine, is_secure, server, collection } = self;
        let secure = if *is_secure { "+https" } else { "" };
        write!(f, "{}{secure}://{server}/{collection}", engine.name())
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected `qdrant://HOST:PORT/COLLECTION` or \
                                `milvus://HOST:PORT/COLLECTION`, encrypted `qdrant+https://…`";
        let read = || {
            let (scheme, rest) = text.split_once("://")?;
            let (name, is_secure) = match scheme.strip_suffix("+https") {
                Some(name) => (name, true),
                None => (scheme, false),
            };
            let engine = EngineName::ALL.into_iter().find(|engine| engine.name() == name)?;
            let (server, collection) = rest.split_once('/')?;
            let (host, port) = server.rsplit_once(':')?;
            let is_name = !host.is_empty() && !collection.is_empty() && !collection.contains('/');
            (is_name && port.parse::<u16>().is_ok()).then(|| Self {
                engine,
                is_secure,
                server: server.to_owned(),
                collection: collection.to_owned(),
            })
        };
        read().ok_or_else(|| EXPECTED.to_owned())
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains("://") {
            return text.parse().map(Self::Cluster);
        }
        Ok(Self::Folder(text.into()))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(f),
            Self::Cluster(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back_as_it_is_written() {
        for text in ["qdrant://localhost:6334/docs", "milvus+https://[::1]:19530/a_b"] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
        #[cfg(any(feature = "qdrant", feature = "milvus"))]
        assert_eq!("milvus+https://h:1/c".parse::<Address>().unwrap().url(), "https://h:1");
        for text in [
            "docs",
            "redis://host:1/docs",
            "qdrant://host/docs",
            "qdrant://host:port/docs",
            "qdrant://:6334/docs",
            "qdrant://host:6334",
            "qdrant://host:6334/",
            "qdrant://host:6334/docs/more",
            "qdrant+http://host:6334/docs",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
        assert!(matches!("a/b".parse(), Ok(Place::Folder(_))));
        assert!(matches!("qdrant://h:1/c".parse(), Ok(Place::Cluster(_))));
        assert!("http://h:1/c".parse::<Place>().is_err());
    }
}
