//! HTTP versions as HAR files write them.

use http::Version;

/// The words Chrome uses.
pub(crate) fn write(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "http/2.0",
        Version::HTTP_3 => "h3",
        _ => "HTTP/1.1",
    }
}

/// Reads the words of every tool seen; what is not known counts as HTTP/1.1.
pub(crate) fn read(text: &str) -> Version {
    match text.trim().to_ascii_lowercase().as_str() {
        "http/0.9" => Version::HTTP_09,
        "http/1.0" => Version::HTTP_10,
        "http/2.0" | "http/2" | "h2" | "h2c" | "http/2.0+quic" | "spdy" => Version::HTTP_2,
        "http/3.0" | "http/3" | "h3" => Version::HTTP_3,
        text if text.starts_with("h3-") => Version::HTTP_3,
        _ => Version::HTTP_11,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_read_back_as_written_and_as_others_write_them() {
        for version in
            [Version::HTTP_09, Version::HTTP_10, Version::HTTP_11, Version::HTTP_2, Version::HTTP_3]
        {
            assert_eq!(read(write(version)), version);
        }
        for (text, version) in [
            ("HTTP/2", Version::HTTP_2),
            ("h2", Version::HTTP_2),
            ("HTTP/3", Version::HTTP_3),
            ("h3-29", Version::HTTP_3),
            ("http/1.1", Version::HTTP_11),
            ("unknown", Version::HTTP_11),
            ("", Version::HTTP_11),
        ] {
            assert_eq!(read(text), version, "{text}");
        }
    }
}
