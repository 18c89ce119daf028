//! Methods and statuses as they are written in rules.

use http::{Method, StatusCode};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A method, any token (RFC 9110 section 9.1) but CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodToken(pub(super) Method);

impl MethodToken {
    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.0
    }
}

impl<'de> Deserialize<'de> for MethodToken {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        match Method::from_bytes(text.as_bytes()) {
            Ok(Method::CONNECT) => Err(de::Error::custom("a request cannot be made a CONNECT")),
            Ok(method) => Ok(Self(method)),
            Err(_) => {
                Err(de::Error::custom("a method is a token of letters, digits and - . _ ! and the like"))
            }
        }
    }
}

impl Serialize for MethodToken {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        sink.serialize_str(self.0.as_str())
    }
}

/// The status of a final response, 200 to 999.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub(super) StatusCode);

impl Status {
    /// The status.
    #[must_use]
    pub fn code(self) -> StatusCode {
        self.0
    }
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let code = u64::deserialize(source)?;
        u16::try_from(code)
            .ok()
            .and_then(|code| StatusCode::from_u16(code).ok())
            .filter(|status| !status.is_informational())
            .map(Self)
            .ok_or_else(|| de::Error::custom("the status of a final response is 200 to 999"))
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        sink.serialize_u16(self.0.as_u16())
    }
}
