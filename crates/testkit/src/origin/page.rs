//! A small page that makes a browser do what pages do.

/// The page: a style sheet, a script and an image.
pub(super) const INDEX: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>loading</title>
<link rel="stylesheet" href="/html/style.css">
<script src="/html/script.js" defer></script>
</head>
<body>
<h1>wirescope</h1>
<img src="/html/dot.png" alt="a dot">
<p id="data"></p>
<p id="socket"></p>
</body>
</html>
"#;

/// The style sheet.
pub(super) const STYLE: &str = "h1 { color: teal; }\n";

/// The script: fetches data, posts some, opens a WebSocket, and says "done" in the title when all of it came back.
pub(super) const SCRIPT: &str = r#"
const fetched = fetch("/json").then((answer) => answer.json()).then((value) => {
  document.getElementById("data").textContent = JSON.stringify(value);
});
const posted = fetch("/echo", { method: "POST", headers: { "content-type": "application/json" }, body: '{"posted":true}' })
  .then((answer) => answer.text());
const spoken = new Promise((resolve, reject) => {
  const socket = new WebSocket(location.origin.replace("http", "ws") + "/ws-deflate");
  socket.onopen = () => socket.send("hello from the page");
  socket.onerror = () => reject(new Error("the WebSocket failed"));
  socket.onmessage = (message) => {
    document.getElementById("socket").textContent = message.data;
    socket.close();
    resolve();
  };
});
Promise.all([fetched, posted, spoken]).then(
  () => { document.title = "done"; },
  (error) => { document.title = "failed: " + error; },
);
"#;

/// A PNG of one pixel.
pub(super) const DOT: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00,
    0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x06, 0x00, 0x00, 0x00, 0x1f, 0x15, 0xc4, 0x89, 0x00,
    0x00, 0x00, 0x0d, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0x64, 0x60, 0xf8, 0x5f, 0x0f, 0x00, 0x02,
    0x87, 0x01, 0x80, 0xeb, 0x47, 0xba, 0x92, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42,
    0x60, 0x82,
];
