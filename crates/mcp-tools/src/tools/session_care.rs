//! What can be done with recorded sessions beside reading them: mark, copy, merge, verify.

use capture_store::{Condition, Query, SessionEdit, SessionId};
use rmcp::{
    handler::server::{
        router::tool::ToolRouter,
        tool::schema_for_output,
        wrapper::{Json, Parameters},
    },
    tool, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sessions::OneSession;
use crate::{
    budget::{cut, fit},
    catalogue::Family,
    error::ToolError,
    scoped::filter,
    toolbox::{Toolbox, blocking},
    toolsets::Toolset,
    view::{Success, is_false},
};

/// The family.
pub(crate) const FAMILY: Family = Family {
    name: "session_care",
    toolset: Toolset::Sessions,
    summary: "Sessions marked, copied, merged and verified.",
    router,
    references: &[],
};

fn router() -> ToolRouter<Toolbox> {
    Toolbox::session_care_router()
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct EditParams {
    /// The session, like s3.
    #[schemars(length(min = 1, max = 40))]
    session_id: String,
    /// Its name; empty takes it away.
    #[schemars(length(max = 200))]
    name: Option<String>,
    /// Its comment; empty takes it away.
    #[schemars(length(max = 4000))]
    comment: Option<String>,
    /// Its tags, in place of those it has.
    #[schemars(length(max = 50), inner(length(min = 1, max = 100)))]
    tags: Option<Vec<String>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct CopyParams {
    /// Like s3; several are merged in the order of their exchanges.
    #[schemars(length(max = 100), inner(length(min = 1, max = 40)))]
    session_ids: Vec<String>,
    /// The new session's name.
    #[schemars(length(min = 1, max = 200))]
    name: String,
    /// Only these: host:a.test status:>=500 since:10m.
    #[schemars(length(max = 4000))]
    filter: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct VerifyParams {
    /// Like s3; default: all.
    #[schemars(length(min = 1, max = 40))]
    session_id: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Verified {
    status: Success,
    /// Whether nothing is wrong.
    whole: bool,
    /// Exchanges looked at.
    exchanges: u64,
    /// Bodies whose bytes were compared with their hash.
    bodies: u64,
    /// Their bytes.
    bytes: u64,
    /// Bodies without a hash: of exchanges that were open, or cut off by a crash.
    unhashed: u64,
    /// What is wrong.
    problems: Vec<Wrong>,
    /// Whether more is wrong than is told.
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
}

/// Something that is wrong.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Wrong {
    #[serde(skip_serializing_if = "Option::is_none")]
    exchange_id: Option<String>,
    message: String,
}

#[tool_router(router = session_care_router, vis = "pub(crate)")]
impl Toolbox {
    /// Change a session's name, comment or tags, also while it is recorded.
    #[tool(
        name = "edit_session",
        title = "Edit a session",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = true,
            open_world_hint = false
        ),
        output_schema = schema_for_output::<OneSession>()
    )]
    pub(crate) async fn edit_session(
        &self,
        Parameters(params): Parameters<EditParams>,
    ) -> Result<Json<OneSession>, ToolError> {
        let id: SessionId = params.session_id.parse()?;
        let mut edit = SessionEdit::default();
        (edit.name, edit.comment, edit.tags) = (params.name, params.comment, params.tags);
        if edit == SessionEdit::default() {
            return Err(ToolError::invalid("edit_session needs something to change")
                .hint("give name, comment or tags"));
        }
        let store = self.store().await?;
        let info = blocking(move || Ok(store.edit_session(id, &edit)?)).await?;
        Ok(Json(OneSession::of(self.session_view(info).await?)))
    }

    /// Copy sessions, or what a filter finds in them, into a new session.
    #[tool(
        name = "copy_sessions",
        title = "Copy or merge sessions",
        annotations(
            read_only_hint = false,
            destructive_hint = false,
            idempotent_hint = false,
            open_world_hint = false
        ),
        output_schema = schema_for_output::<OneSession>()
    )]
    pub(crate) async fn copy_sessions(
        &self,
        Parameters(params): Parameters<CopyParams>,
    ) -> Result<Json<OneSession>, ToolError> {
        let mut ids: Vec<SessionId> =
            params.session_ids.iter().map(|id| id.parse()).collect::<Result<_, _>>()?;
        ids.dedup();
        if ids.is_empty() {
            return Err(ToolError::invalid("session_ids names no session")
                .hint("proxy_list_sessions names the sessions there are"));
        }
        let wanted = params.filter.as_deref().map(|text| filter("filter", text)).transpose()?;
        let store = self.fresh_store().await?;
        let info = blocking(move || {
            for id in &ids {
                store.session(*id)?;
            }
            let of_sessions = Condition::Any(ids.iter().copied().map(Condition::Session).collect());
            let mut query = Query::default();
            query.condition = Some(match wanted {
                Some(wanted) => Condition::All(vec![of_sessions, wanted]),
                None => of_sessions,
            });
            if let [only] = ids[..] {
                query.session = Some(only);
            }
            Ok(store.copy(&query, &params.name)?)
        })
        .await?;
        Ok(Json(OneSession::of(self.session_view(info).await?)))
    }

    /// Verify that recordings are whole: the database, every exchange, every body against its hash. Reads all of it.
    #[tool(
        name = "verify_sessions",
        title = "Verify sessions",
        annotations(read_only_hint = true, open_world_hint = false),
        output_schema = schema_for_output::<Verified>()
    )]
    pub(crate) async fn verify_sessions(
        &self,
        Parameters(params): Parameters<VerifyParams>,
    ) -> Result<Json<Verified>, ToolError> {
        let id = params.session_id.as_deref().map(str::parse::<SessionId>).transpose()?;
        let store = self.fresh_store().await?;
        let budget = self.config().answer_bytes;
        blocking(move || {
            let found = store.verify(id)?;
            let told = found.problems.iter().map(|problem| Wrong {
                exchange_id: problem.exchange.map(|seq| seq.to_string()),
                message: cut(&problem.message, 300),
            });
            let (problems, dropped) = fit(told.collect(), budget);
            Ok(Json(Verified {
                status: Success::Success,
                whole: found.is_whole(),
                exchanges: found.exchanges,
                bodies: found.bodies,
                bytes: found.bytes,
                unhashed: found.unhashed,
                problems,
                truncated: dropped || found.more,
            }))
        })
        .await
    }
}
