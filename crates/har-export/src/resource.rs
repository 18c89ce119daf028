//! Chrome's vocabulary for what a request fetched (`_resourceType`), guessed from what is on the wire.

use capture_store::{Exchange, ExchangeKind};

/// What an exchange fetched: by its kind, then by what the browser said it is for (Fetch Metadata,
/// `Sec-Fetch-Dest`), then by the response's content type.
pub(crate) fn resource_type(exchange: &Exchange) -> &'static str {
    if exchange.summary.kind == ExchangeKind::WebSocket {
        return "websocket";
    }
    let content_type = exchange.response.as_ref().and_then(|head| head.headers.get_str("content-type"));
    let mime = content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    let mime = mime.to_ascii_lowercase();
    if mime == "text/event-stream" {
        return "eventsource";
    }
    let request = &exchange.request.headers;
    if request.get_str("x-requested-with").is_some_and(|by| by.eq_ignore_ascii_case("XMLHttpRequest")) {
        return "xhr";
    }
    request.get_str("sec-fetch-dest").map_or_else(|| by_mime(&mime), by_destination)
}

/// The destinations of the Fetch standard, section 2.2.5.
fn by_destination(destination: &str) -> &'static str {
    match destination.to_ascii_lowercase().as_str() {
        "document" | "iframe" | "frame" | "embed" | "object" => "document",
        "script" | "worker" | "sharedworker" | "serviceworker" | "audioworklet" | "paintworklet" => "script",
        "style" => "stylesheet",
        "image" => "image",
        "font" => "font",
        "audio" | "video" | "track" => "media",
        "manifest" => "manifest",
        "empty" => "fetch",
        _ => "other",
    }
}

fn by_mime(mime: &str) -> &'static str {
    match mime {
        "text/html" | "application/xhtml+xml" => "document",
        "text/css" => "stylesheet",
        "application/manifest+json" => "manifest",
        "application/json" | "application/xml" | "text/xml" => "xhr",
        _ if mime.ends_with("javascript") || mime.ends_with("ecmascript") => "script",
        _ if mime.starts_with("image/") => "image",
        _ if mime.starts_with("font/") || mime.starts_with("application/font") || mime.contains("x-font") => {
            "font"
        }
        _ if mime.starts_with("audio/") || mime.starts_with("video/") => "media",
        _ if mime.ends_with("+json") => "xhr",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_destinations_map_to_chromes_words() {
        for (mime, expected) in [
            ("text/html", "document"),
            ("text/javascript", "script"),
            ("application/x-javascript", "script"),
            ("image/svg+xml", "image"),
            ("font/woff2", "font"),
            ("application/x-font-ttf", "font"),
            ("video/mp4", "media"),
            ("application/vnd.api+json", "xhr"),
            ("application/octet-stream", "other"),
            ("", "other"),
        ] {
            assert_eq!(by_mime(mime), expected, "{mime}");
        }
        for (destination, expected) in
            [("document", "document"), ("style", "stylesheet"), ("empty", "fetch"), ("report", "other")]
        {
            assert_eq!(by_destination(destination), expected, "{destination}");
        }
    }
}
