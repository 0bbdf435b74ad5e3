//! JSON Web Tokens (RFC 7519) with HMAC-SHA256: those of the API's clients, and those that its calls of a billing service
//! carry. The words about a token are those of PyJWT, which the original answers with.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};

/// How long a token that is made here lives, in seconds.
const LIFETIME: u64 = 60;

/// What tokens are signed and checked with.
#[derive(Clone)]
pub struct TokenKey(hmac::Key);

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// There is no `Authorization`.
    #[error("Authorization header not present in request")]
    NoHeader,
    /// It is no bearer token.
    #[error("Bearer token not present in Authorization header")]
    NoBearer,
    /// It has not three parts, or they do not hold what they must.
    #[error("Token cannot be decoded")]
    Malformed,
    /// It is signed in another way.
    #[error("The specified alg value is not allowed")]
    Algorithm,
    /// It wants something of its reader that this one does not know.
    #[error("Token has a critical header that is not understood")]
    Critical,
    /// It is signed with another secret, or was changed.
    #[error("Signature verification failed")]
    Signature,
    /// It does not say when it ends.
    #[error("Token is missing the \"exp\" claim")]
    NoEnd,
    /// Its end is no number.
    #[error("Expiration Time claim (exp) must be an integer.")]
    EndNoNumber,
    /// It has ended.
    #[error("Signature has expired")]
    Expired,
    /// Its beginning is no number.
    #[error("Not Before claim (nbf) must be an integer.")]
    BeginningNoNumber,
    /// It is not valid yet.
    #[error("The token is not yet valid (nbf)")]
    TooEarly,
    /// It says that it was made later.
    #[error("The token is not yet valid (iat)")]
    FromTheFuture,
    /// It is for another audience.
    #[error("Invalid audience")]
    Audience,
    /// The launcher has no secret.
    #[error("No tokens are accepted: JWT_SECRET is not set")]
    NoSecret,
}

impl TokenKey {
    /// A key of a secret; `None` of an empty one.
    #[must_use]
    pub fn new(secret: &str) -> Option<Self> {
        (!secret.is_empty()).then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())))
    }

    /// A token for a call that is made now.
    #[must_use]
    pub fn sign(&self) -> String {
        self.sign_claims(&json!({ "exp": now() + LIFETIME }))
    }

    fn sign_claims(&self, claims: &Value) -> String {
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({ "alg": "HS256", "typ": "JWT" })), part(claims));
        let signature = hmac::sign(&self.0, signed.as_bytes());
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Checks the value of `Authorization`.
///
/// # Errors
/// [`TokenFault`].
pub fn check(key: Option<&TokenKey>, authorization: Option<&str>) -> Result<(), TokenFault> {
    let value = authorization.ok_or(TokenFault::NoHeader)?;
    // RFC 9110, 11.1: the case of the scheme does not matter.
    let (scheme, token) = value.split_once(' ').ok_or(TokenFault::NoBearer)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(TokenFault::NoBearer);
    }
    verify(key.ok_or(TokenFault::NoSecret)?, token.trim(), now())
}

/// Checks a token at a moment, in seconds since 1970.
fn verify(key: &TokenKey, token: &str, now: u64) -> Result<(), TokenFault> {
    let mut parts = token.split('.');
    let (Some(head), Some(claims), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(TokenFault::Malformed);
    };
    let bytes = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Malformed);
    let json = |part: &str| -> Result<Value, TokenFault> {
        serde_json::from_slice(&bytes(part)?).map_err(|_| TokenFault::Malformed)
    };
    let head = json(head)?;
    // SECURITY: the token does not choose how it is checked (RFC 8725, 3.1).
    if head["alg"] != "HS256" {
        return Err(TokenFault::Algorithm);
    }
    if head.get("crit").is_some() {
        return Err(TokenFault::Critical);
    }
    let signed = &token[..token.len() - signature.len() - 1];
    // ring compares in constant time.
    hmac::verify(&key.0, signed.as_bytes(), &bytes(signature)?).map_err(|_| TokenFault::Signature)?;
    let claims = json(claims)?;
    let claims = claims.as_object().ok_or(TokenFault::Malformed)?;
    let given = |name: &str| claims.get(name).filter(|value| !value.is_null());
    let end = seconds(given("exp").ok_or(TokenFault::NoEnd)?).ok_or(TokenFault::EndNoNumber)?;
    #[expect(clippy::cast_precision_loss, reason = "exact for some hundred million years")]
    let now = now as f64;
    if end <= now {
        return Err(TokenFault::Expired);
    }
    if let Some(value) = given("nbf")
        && seconds(value).ok_or(TokenFault::BeginningNoNumber)? > now
    {
        return Err(TokenFault::TooEarly);
    }
    if given("iat").and_then(seconds).is_some_and(|made| made > now) {
        return Err(TokenFault::FromTheFuture);
    }
    if given("aud").is_some_and(|audience| audience != "" && audience != &json!([])) {
        return Err(TokenFault::Audience);
    }
    Ok(())
}

/// A moment as Python's `int` reads it: a number without its fraction, or the digits of one.
fn seconds(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64().map(f64::trunc),
        #[expect(clippy::cast_precision_loss, reason = "exact for some hundred million years")]
        Value::String(text) => text.trim().parse::<i64>().ok().map(|number| number as f64),
        _ => None,
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> TokenKey {
        TokenKey::new("TEST_SECRET").unwrap()
    }

    #[test]
    fn takes_what_others_make_and_what_it_makes_itself() {
        // Made with Python's hmac and base64, as PyJWT makes it of {"exp": 4102444800}.
        let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjQxMDI0NDQ4MDB9.uDsELfYi0MctfE2EnzB_YeLl9a7iWBR1W6otcKpfxDY";
        assert_eq!(verify(&key(), token, 1), Ok(()));
        assert_eq!(verify(&key(), &key().sign(), now()), Ok(()));
    }

    #[test]
    fn looks_at_every_claim() {
        let now = 1000;
        for (claims, wanted) in [
            (json!({ "exp": 1001 }), Ok(())),
            (json!({ "exp": 1001.5, "sub": "x" }), Ok(())),
            (json!({ "exp": "1001" }), Ok(())),
            (json!({ "exp": 1000 }), Err(TokenFault::Expired)),
            (json!({ "exp": 1000.9 }), Err(TokenFault::Expired)),
            (json!({}), Err(TokenFault::NoEnd)),
            (json!({ "exp": null }), Err(TokenFault::NoEnd)),
            (json!({ "exp": "tomorrow" }), Err(TokenFault::EndNoNumber)),
            (json!({ "exp": 2000, "nbf": 1000 }), Ok(())),
            (json!({ "exp": 2000, "nbf": 1001 }), Err(TokenFault::TooEarly)),
            (json!({ "exp": 2000, "nbf": "x" }), Err(TokenFault::BeginningNoNumber)),
            (json!({ "exp": 2000, "iat": 1001 }), Err(TokenFault::FromTheFuture)),
            (json!({ "exp": 2000, "aud": "other" }), Err(TokenFault::Audience)),
            (json!([1]), Err(TokenFault::Malformed)),
        ] {
            assert_eq!(verify(&key(), &key().sign_claims(&claims), now), wanted, "{claims}");
        }
    }

    #[test]
    fn no_token_chooses_how_it_is_checked() {
        let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        let claims = encode(r#"{"exp":4102444800}"#);
        for head in [r#"{"alg":"none"}"#, r#"{"alg":"HS512"}"#, r#"{"alg":"hs256"}"#, "{}", "[]"] {
            let signed = format!("{}.{claims}", encode(head));
            let tag = BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&key().0, signed.as_bytes()));
            for token in [format!("{signed}."), format!("{signed}.{tag}")] {
                assert_eq!(verify(&key(), &token, 1), Err(TokenFault::Algorithm), "{head}");
            }
        }
        let good = key().sign_claims(&json!({ "exp": 2000 }));
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let (head, _) = signed.split_once('.').unwrap();
        let other = TokenKey::new("TEST_SECREt").unwrap();
        for (token, wanted) in [
            (format!("{head}.{}.{signature}", encode(r#"{"exp":9000}"#)), TokenFault::Signature),
            (other.sign_claims(&json!({ "exp": 2000 })), TokenFault::Signature),
            (signed.to_owned(), TokenFault::Malformed),
            (format!("{good}.x"), TokenFault::Malformed),
            ("x".to_owned(), TokenFault::Malformed),
            (String::new(), TokenFault::Malformed),
        ] {
            assert_eq!(verify(&key(), &token, 1), Err(wanted), "{token}");
        }
    }

    #[test]
    fn reads_the_header_as_http_has_it() {
        let token = key().sign();
        let of = |value: &str| check(Some(&key()), Some(value));
        assert_eq!(of(&format!("Bearer {token}")), Ok(()));
        assert_eq!(of(&format!("bearer  {token}")), Ok(()));
        assert_eq!(check(Some(&key()), None), Err(TokenFault::NoHeader));
        for value in ["", "Bearer", &token, "Basic ZGVtbzpkZW1v"] {
            assert_eq!(of(value), Err(TokenFault::NoBearer), "{value}");
        }
        assert_eq!(check(None, Some(&format!("Bearer {token}"))), Err(TokenFault::NoSecret));
        assert!(TokenKey::new("").is_none());
    }
}
