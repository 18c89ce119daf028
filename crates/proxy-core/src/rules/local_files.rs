//! Files of a directory in the place of upstream, and nothing outside it.

use std::{
    io,
    path::{Component, Path, PathBuf},
};

use http::{Method, StatusCode};

use super::{answer::MapLocal, apply_body::read_bounded, media_type, query, respond::RuleAnswer};
use crate::head::{RequestHead, ResponseHead};

impl MapLocal {
    /// Looks the request's path up, and makes the answer. That blocks.
    ///
    /// The directory and the file are resolved before they are compared, so that no symbolic link leads out. Whoever can
    /// write below the directory can still swap a file for a link between the two; those people can write its content
    /// as well.
    #[must_use]
    pub fn answer(&self, request: &RequestHead) -> RuleAnswer {
        if !matches!(request.method, Method::GET | Method::HEAD) {
            let mut refused = RuleAnswer::note(
                StatusCode::METHOD_NOT_ALLOWED,
                "wirescope maps this path to files, which have GET and HEAD only\n",
            );
            refused.head.headers.push("Allow", "GET, HEAD");
            return refused;
        }
        match self.find(&request.target).and_then(|path| Ok((read_bounded(&path)?, path))) {
            Ok((body, path)) => {
                let mut head = ResponseHead::new(StatusCode::OK);
                head.headers.push("Content-Type", media_type::of(&path));
                RuleAnswer::new(head, body)
            }
            Err(error) if error.kind() == io::ErrorKind::Other => {
                // Too large, or no file: worth saying, and says nothing of what is outside.
                RuleAnswer::note(
                    StatusCode::NOT_FOUND,
                    "wirescope maps this path to something that is no file it can send\n",
                )
            }
            Err(_) => RuleAnswer::note(
                StatusCode::NOT_FOUND,
                "wirescope maps this path to a directory that has no such file\n",
            ),
        }
    }

    /// The file for a target, resolved, below the directory.
    fn find(&self, target: &str) -> io::Result<PathBuf> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let path = query::split(target).0;
        let path = path.strip_prefix(self.strip_prefix.as_str()).ok_or_else(missing)?;
        let mut bytes = path.as_bytes().to_vec();
        query::unescape(&mut bytes);
        let path = String::from_utf8(bytes).map_err(|_| missing())?;
        let root = self.directory.canonicalize()?;
        let mut file = root.clone();
        for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
            if !is_plain(part) {
                return Err(missing());
            }
            file.push(part);
        }
        let mut file = confined(&root, &file)?;
        if file.is_dir() {
            file = confined(&root, &file.join(&self.index))?;
        }
        Ok(file)
    }
}

/// Whether a part of a path is a name and nothing else, on this system.
fn is_plain(part: &str) -> bool {
    let mut components = Path::new(part).components();
    let one = matches!(components.next(), Some(Component::Normal(name)) if name == part);
    one && components.next().is_none() && !part.contains(['\0', '\\'])
}

/// The path with every symbolic link resolved, if it then is below the directory.
fn confined(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let resolved = path.canonicalize()?;
    if resolved.starts_with(root) { Ok(resolved) } else { Err(io::ErrorKind::NotFound.into()) }
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::*;
    use crate::head::{Headers, Scheme};

    fn get(target: &str) -> RequestHead {
        RequestHead {
            method: Method::GET,
            scheme: Scheme::Http,
            authority: "example.com".to_owned(),
            target: target.to_owned(),
            version: Version::HTTP_11,
            headers: Headers::new(),
        }
    }

    #[test]
    fn files_are_found_below_the_directory_and_nowhere_else() {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("root");
        std::fs::create_dir_all(root.join("sub dir")).unwrap();
        std::fs::write(base.path().join("secret.txt"), "secret").unwrap();
        std::fs::write(root.join("index.html"), "home").unwrap();
        std::fs::write(root.join("sub dir/a.json"), "{}").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(base.path().join("secret.txt"), root.join("link.txt")).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(root.join("index.html"), root.join("inside.html")).unwrap();
        let mut map = MapLocal::new(&root);
        map.strip_prefix = "/static".to_owned();
        for (target, status, body) in [
            ("/static/index.html?v=1", 200, "home"),
            ("/static/", 200, "home"),
            ("/static", 200, "home"),
            ("/static/sub%20dir/a.json", 200, "{}"),
            ("/static/inside.html", 200, "home"),
            ("/static/sub%20dir/", 404, ""),
            ("/static/../secret.txt", 404, ""),
            ("/static/%2e%2e/secret.txt", 404, ""),
            ("/static/..%2fsecret.txt", 404, ""),
            ("/static/x/../../secret.txt", 404, ""),
            ("/static/link.txt", 404, ""),
            ("/static/none", 404, ""),
            ("/static/a%00b", 404, ""),
            ("/static/%ff", 404, ""),
            ("/other/index.html", 404, ""),
            ("*", 404, ""),
        ] {
            let answer = map.answer(&get(target));
            assert_eq!(answer.head.status.as_u16(), status, "{target}");
            if status == 200 {
                assert_eq!(answer.body, body, "{target}");
            }
        }
        let json = map.answer(&get("/static/sub%20dir/a.json"));
        assert_eq!(json.head.headers.get_str("content-type"), Some("application/json"));
        let mut post = get("/static/");
        post.method = Method::POST;
        assert_eq!(map.answer(&post).head.status, StatusCode::METHOD_NOT_ALLOWED);
    }
}
