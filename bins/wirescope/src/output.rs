//! The two ways out: results on stdout, everything else on stderr. Nothing else in this binary writes to either.

use std::{
    fmt,
    io::{self, BufWriter, IsTerminal as _, Write},
};

use anyhow::Result;

/// Whoever read stdout has left. Not a failure: there is nobody to tell.
#[derive(Debug)]
pub(crate) struct ReaderLeft;

impl fmt::Display for ReaderLeft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write to stdout: its reader has left")
    }
}

impl std::error::Error for ReaderLeft {}

/// stdout, buffered. What was not flushed is lost: each method that ends a result flushes.
pub(crate) struct Out {
    stdout: BufWriter<io::Stdout>,
    terminal: bool,
}

impl Out {
    pub(crate) fn new() -> Self {
        Self { stdout: BufWriter::new(io::stdout()), terminal: stdout_is_terminal() }
    }

    /// Whether a person looks at it.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// The terminal's width in characters, where a person looks at it.
    pub(crate) fn width(&self) -> Option<usize> {
        let width = || console::Term::stdout().size().1;
        self.terminal.then(width).map(usize::from)
    }

    /// Writes one line.
    pub(crate) fn line(&mut self, line: impl fmt::Display) -> Result<()> {
        writeln!(self.stdout, "{line}").map_err(lost)
    }

    /// Writes one line and hands it on at once.
    pub(crate) fn line_now(&mut self, line: impl fmt::Display) -> Result<()> {
        self.line(line)?;
        self.flush()
    }

    /// Writes a text as it is and hands it on.
    pub(crate) fn text(&mut self, text: &str) -> Result<()> {
        self.stdout.write_all(text.as_bytes()).map_err(lost)?;
        self.flush()
    }

    /// Hands on what is buffered.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.stdout.flush().map_err(lost)
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stdout.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }
}

/// Whether a person looks at stdout.
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Names a failure to write to stdout.
pub(crate) fn lost(error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return anyhow::Error::new(ReaderLeft);
    }
    anyhow::Error::new(error).context("write to stdout")
}

/// Tells the person one line, on stderr, in one piece: others may write there as well. When it is closed there is nobody
/// to tell.
pub(crate) fn note(line: impl fmt::Display) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}
