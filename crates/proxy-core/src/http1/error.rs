//! Why a head could not be read, and what to answer.

use std::{fmt, io};

use http::StatusCode;

use crate::wire::{WireError, WireErrorKind};

/// Why no head came out of a connection. After any of these the connection is of no more use.
#[derive(Debug)]
pub(crate) enum HeadError {
    /// The peer closed before the head's first byte.
    Closed,
    /// The peer closed in the middle of the head.
    Truncated,
    /// Reading failed.
    Io(io::Error),
    /// The start line alone is larger than a head may be.
    StartLineTooLong,
    /// The head is larger than [`HeadLimits::max_bytes`](super::HeadLimits).
    TooLarge,
    /// The head has more fields than [`HeadLimits::max_headers`](super::HeadLimits).
    TooManyFields,
    /// The bytes are no valid head; the text says what is wrong, and never quotes a value.
    Malformed(String),
    /// The version is neither HTTP/1.0 nor HTTP/1.1.
    UnsupportedVersion,
}

impl HeadError {
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::Malformed(detail.into())
    }

    /// The status to answer a request with (RFC 9110 section 15.5, RFC 6585 section 5). To a peer that has closed
    /// there is nothing to answer; 400 stands in for it.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Closed | Self::Truncated | Self::Io(_) | Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::StartLineTooLong => StatusCode::URI_TOO_LONG,
            Self::TooLarge | Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UnsupportedVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("connection closed before a message began"),
            Self::Truncated => f.write_str("connection closed in the middle of a message head"),
            Self::Io(error) => error.fmt(f),
            Self::StartLineTooLong => f.write_str("start line is too long"),
            Self::TooLarge => f.write_str("message head is too large"),
            Self::TooManyFields => f.write_str("message head has too many fields"),
            Self::Malformed(detail) => f.write_str(detail),
            Self::UnsupportedVersion => f.write_str("HTTP version is neither 1.0 nor 1.1"),
        }
    }
}

impl std::error::Error for HeadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => error.source(),
            _ => None,
        }
    }
}

impl From<io::Error> for HeadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<HeadError> for WireError {
    fn from(error: HeadError) -> Self {
        let kind = match error {
            HeadError::Io(error) => return error.into(),
            HeadError::Closed | HeadError::Truncated => WireErrorKind::Closed,
            HeadError::StartLineTooLong | HeadError::TooLarge | HeadError::TooManyFields => {
                WireErrorKind::Limit
            }
            HeadError::Malformed(_) | HeadError::UnsupportedVersion => WireErrorKind::Malformed,
        };
        Self::new(kind, error.to_string())
    }
}
