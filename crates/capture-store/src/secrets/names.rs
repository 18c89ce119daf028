//! The names of credentials.

/// Header fields whose whole value is a credential, lower case.
pub const CREDENTIAL_HEADERS: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "authentication-info",
    "proxy-authentication-info",
    "api-key",
    "apikey",
    "auth-token",
    "cf-access-client-secret",
    "cf-access-jwt-assertion",
    "circle-token",
    "client-secret",
    "deploy-token",
    "dpop",
    "fastly-key",
    "job-token",
    "ocp-apim-subscription-key",
    "private-token",
    "x-access-token",
    "x-amz-security-token",
    "x-amzn-oidc-data",
    "x-api-key",
    "x-apikey",
    "x-api-token",
    "x-application-key",
    "x-auth",
    "x-auth-key",
    "x-auth-token",
    "x-authorization",
    "x-client-secret",
    "x-csrf-token",
    "x-csrftoken",
    "x-forwarded-access-token",
    "x-forwarded-authorization",
    "x-functions-key",
    "x-github-token",
    "x-gitlab-token",
    "x-goog-api-key",
    "x-goog-iap-jwt-assertion",
    "x-id-token",
    "x-ms-client-principal",
    "x-password",
    "x-rapidapi-key",
    "x-refresh-token",
    "x-secret",
    "x-service-token",
    "x-session-id",
    "x-session-token",
    "x-shopify-access-token",
    "x-token",
    "x-user-token",
    "x-vault-token",
    "x-xsrf-token",
];

/// Header fields that carry cookies, lower case: the values of all of them are credentials, their names are not.
pub const COOKIE_HEADERS: &[&str] = &["cookie", "set-cookie", "cookie2", "set-cookie2"];

/// Names of parameters, form fields, JSON members and multipart fields, in small letters and digits only: `accessToken`,
/// `access_token` and `Access-Token` are all `accesstoken`.
pub const MEMBER_NAMES: &[&str] = &[
    "aspsessionid",
    "aspxauth",
    "assertion",
    "auth",
    "authcode",
    "authenticitytoken",
    "authkey",
    "authorization",
    "authorizationcode",
    "bearer",
    "codeverifier",
    "connectionstring",
    "credential",
    "credentials",
    "csrf",
    "csrfmiddlewaretoken",
    "devicecode",
    "encryptionkey",
    "hmac",
    "hubsignature",
    "idtokenhint",
    "jsessionid",
    "jwt",
    "mfacode",
    "oauthnonce",
    "oauthsignature",
    "oauthverifier",
    "onetimecode",
    "otp",
    "otpcode",
    "pass",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "passwordconfirm",
    "passwordconfirmation",
    "passwordhash",
    "phpsessid",
    "pincode",
    "proxyauthorization",
    "pw",
    "pwd",
    "recoverycode",
    "requestverificationtoken",
    "samlrequest",
    "samlresponse",
    "sas",
    "secret",
    "secrets",
    "sessid",
    "sessionid",
    "sessionkey",
    "sharedaccesssignature",
    "sid",
    "sig",
    "signature",
    "signingkey",
    "sshkey",
    "subscriptionkey",
    "token",
    "totp",
    "usercode",
    "verificationcode",
    "xamzcredential",
    "xamzsecuritytoken",
    "xamzsignature",
    "xcsrf",
    "xgoogcredential",
    "xgoogsignature",
    "xsrf",
];

/// Endings of such names that make a credential of anything: `githubToken`, `db_password`, `STRIPE-API-KEY`.
pub const MEMBER_ENDINGS: &[&str] = &[
    "accesskey",
    "accesskeyid",
    "apikey",
    "apisecret",
    "clientsecret",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "secretkey",
    "token",
];

/// Names with such an ending that are none: cursors of lists, and what programs call a token of speech.
pub const MEMBER_EXCEPTIONS: &[&str] = &[
    "breaktoken",
    "cancellationtoken",
    "continuationtoken",
    "cursortoken",
    "eostoken",
    "nextcontinuationtoken",
    "nextpagetoken",
    "nextsynctoken",
    "nexttoken",
    "padtoken",
    "pagetoken",
    "paginationtoken",
    "previouspagetoken",
    "prevpagetoken",
    "resumetoken",
    "skiptoken",
    "starttoken",
    "stoptoken",
    "synctoken",
    "unktoken",
];

/// The longest name that is looked at, in bytes: a key of a megabyte is none.
const MAX_BYTES: usize = 200;

/// Small letters and digits of a name, percent-encoding taken off.
pub(super) fn normalised(name: &[u8]) -> String {
    let mut bytes = name.iter().copied();
    let mut out = String::with_capacity(name.len().min(MAX_BYTES));
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' { percent(&mut bytes).unwrap_or(b'%') } else { byte };
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte.to_ascii_lowercase()));
        }
    }
    out
}

fn percent(bytes: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let mut digit = || char::from(bytes.next()?).to_digit(16);
    let (high, low) = (digit()?, digit()?);
    u8::try_from(high * 16 + low).ok()
}

/// Tells whether a member of this name is a credential: by its whole name, or by its last part (`user[password]`,
/// `data.token`).
pub(super) fn is_member(name: &[u8]) -> bool {
    if name.is_empty() || name.len() > MAX_BYTES {
        return false;
    }
    let whole = normalised(name);
    if is_normalised_member(&whole) {
        return true;
    }
    let trimmed = name.strip_suffix(b"]").or_else(|| name.strip_suffix(b"%5D")).unwrap_or(name);
    let last = trimmed.iter().rposition(|byte| matches!(byte, b'[' | b'.' | b':' | b'$'));
    last.is_some_and(|at| is_normalised_member(&normalised(&trimmed[at + 1..])))
}

fn is_normalised_member(name: &str) -> bool {
    if MEMBER_NAMES.binary_search(&name).is_ok() {
        return true;
    }
    MEMBER_ENDINGS.iter().any(|ending| name.ends_with(ending)) && !MEMBER_EXCEPTIONS.contains(&name)
}

/// Tells whether the whole value of a header field of this name is a credential.
pub(super) fn is_header(name: &[u8]) -> bool {
    if name.len() > MAX_BYTES {
        return false;
    }
    let listed = |list: &[&str]| list.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name));
    if listed(CREDENTIAL_HEADERS) {
        return true;
    }
    let normalised = normalised(name);
    MEMBER_ENDINGS.iter().any(|ending| normalised.ends_with(ending))
        && !MEMBER_EXCEPTIONS.contains(&normalised.as_str())
}

/// Tells whether a header field of this name carries cookies.
pub(super) fn is_cookie_header(name: &[u8]) -> bool {
    COOKIE_HEADERS.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
}
