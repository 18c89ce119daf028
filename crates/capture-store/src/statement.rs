//! SQL with what only a store can give: fields and bodies.

use std::{io::Read, path::Path, sync::Arc};

use crate::{
    charset,
    db::{Contents, Mode, Refused, run_sql},
    error::{Error, ErrorKind},
    id::Seq,
    record::BodySide,
    sql::{Sql, SqlAnswer},
    store::Store,
};

/// Decoded bytes of a body that SQL sees.
const MAX_BODY_BYTES: u64 = 16 * 1024 * 1024;

/// Runs a statement.
pub(crate) fn run(store: &Store, (path, mode): (&Path, Mode), sql: &Sql) -> Result<SqlAnswer, Error> {
    let contents: Arc<dyn Contents> = Arc::new(StoreContents(store.clone()));
    run_sql((path, mode), contents, sql).map_err(|refused| match refused {
        Refused::Statement(message) => Error::new(ErrorKind::Sql(message)),
        Refused::Timeout => Error::new(ErrorKind::SqlTimeout(sql.timeout)),
        Refused::Database(error) => error.into(),
    })
}

struct StoreContents(Store);

impl Contents for StoreContents {
    fn header(&self, seq: Seq, side: BodySide, name: &str) -> Option<String> {
        let exchange = self.0.exchange(seq).ok()?;
        let headers = match side {
            BodySide::Request => exchange.request.headers,
            BodySide::Response => exchange.response?.headers,
        };
        let values: Vec<_> =
            headers.get_all(name).map(|value| String::from_utf8_lossy(value).into_owned()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    fn body_text(&self, seq: Seq, side: BodySide) -> Option<String> {
        let body = self.0.body(seq, side).ok()??;
        let content_type = body.content_type().map(str::to_owned);
        let reader = charset::to_utf8(body.into_decoded_reader(), content_type.as_deref());
        let mut bytes = Vec::new();
        // What came before a broken coding is what there is.
        let _ = reader.take(MAX_BODY_BYTES).read_to_end(&mut bytes);
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}
