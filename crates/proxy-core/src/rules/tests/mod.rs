mod docs;
mod files;
mod matching;
mod properties;
mod rounds;

use http::{Method, StatusCode, Version};

use super::*;
use crate::{
    event::{ClientFacts, ConnectionId},
    head::{Headers, RequestHead, ResponseHead, Scheme},
};

/// A request with what rules see beside it.
#[derive(Debug)]
struct Lab {
    head: RequestHead,
    client: ClientFacts,
    body: Vec<u8>,
}

impl Lab {
    fn get(url: &str) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap();
        let (authority, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let head = RequestHead {
            method: Method::GET,
            scheme: if scheme == "https" { Scheme::Https } else { Scheme::Http },
            authority: authority.to_owned(),
            target: if target.is_empty() { "/".to_owned() } else { target.to_owned() },
            version: Version::HTTP_11,
            headers: Headers::new(),
        };
        let address = ([127, 0, 0, 1], 4711).into();
        Self { head, client: ClientFacts::new(ConnectionId(1), address, address), body: Vec::new() }
    }

    fn method(mut self, method: &str) -> Self {
        self.head.method = Method::from_bytes(method.as_bytes()).unwrap();
        self
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.head.headers.push(name.to_owned(), value.to_owned());
        self
    }

    fn body(mut self, body: &str) -> Self {
        self.body = body.as_bytes().to_vec();
        self
    }

    fn asked(&self) -> Asked<'_> {
        Asked { head: &self.head, client: &self.client, body: Seen::Whole(&self.body) }
    }
}

fn response(status: u16, headers: &[(&str, &str)]) -> ResponseHead {
    let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
    for (name, value) in headers {
        head.headers.push((*name).to_owned(), (*value).to_owned());
    }
    head
}

fn rule(json: &str) -> Rule {
    Rule::from_json(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn rules(all: &[&str]) -> Rules {
    let rules = Rules::with_seed(7);
    for json in all {
        rules.add(rule(json)).unwrap();
    }
    rules
}

/// `id:action` of each step.
fn steps(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|step| format!("{}:{}", step.rule_id(), step.action().name())).collect()
}

fn hits(plan: &Plan) -> Vec<&str> {
    plan.hits.iter().map(|rule| rule.id()).collect()
}
