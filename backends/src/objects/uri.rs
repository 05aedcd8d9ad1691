//! Object stores by URI: `s3://bucket/prefix?region=eu-west-1`, in OpenDAL's own terms.

use super::{Objects, ObjectsOptions, Secrets, error_kind};
use crate::{Error, ErrorKind, Result};
use opendal::{Operator, OperatorRegistry, OperatorUri};

/// Schemes that OpenDAL knows and that are refused: there is a better way to the same place.
const BETTER: &[(&str, &str)] = &[
    ("fs", "a local folder is written `file:PATH`: OpenDAL neither syncs folders nor creates exclusively"),
    ("memory", "a store in memory is written `mem:`"),
];

/// The store that `uri` names, if its scheme is one of a service that this program was built with.
pub(crate) fn from_uri(uri: &str) -> Result<Option<Objects>> {
    let Some((scheme, _)) = uri.split_once("://") else { return Ok(None) };
    opendal::install_default();
    let refuse = |message: String| Error::new(ErrorKind::InvalidInput, "open", format!("{scheme}:…"), message);
    if let Some((_, better)) = BETTER.iter().find(|(name, _)| *name == scheme) {
        return Err(refuse((*better).to_owned()));
    }
    if !OperatorRegistry::get().schemes().contains(scheme) {
        return Ok(None);
    }
    // What cannot be read may hold anything: it is not shown.
    let parsed = OperatorUri::new(uri, []).map_err(|_| refuse("this is no URI".to_owned()))?;
    if parsed.password().is_some() || parsed.username().is_some() {
        return Err(refuse("credentials belong into the environment or an option, not before the `@`".to_owned()));
    }
    let extra = endpoint_of_account(&parsed);
    let secrets = Secrets::of(parsed.options().iter().map(|(name, value)| (&**name, &**value)));
    let operator = Operator::from_uri((uri, extra)).map_err(|error| {
        let place = format!("{scheme}://{}/{}", parsed.name().unwrap_or_default(), parsed.root().unwrap_or_default());
        secrets.error(error_kind(&error), "open", place, &error)
    })?;
    Ok(Some(Objects::with_secrets(operator, ObjectsOptions::default(), secrets)))
}

/// Where an Azure account is, if only the account is named.
fn endpoint_of_account(uri: &OperatorUri) -> Vec<(String, String)> {
    let given = |name: &str| uri.options().get(name).filter(|value| !value.is_empty()).cloned();
    if uri.scheme() != "azblob" || given("endpoint").is_some() {
        return Vec::new();
    }
    let from_environment = || std::env::var("AZBLOB_ENDPOINT").ok().filter(|endpoint| !endpoint.is_empty());
    let of_account = || {
        let account = given("account_name").or_else(|| std::env::var("AZBLOB_ACCOUNT_NAME").ok());
        account.map(|account| format!("https://{account}.blob.core.windows.net"))
    };
    let endpoint = from_environment().or_else(of_account);
    endpoint.map(|endpoint| ("endpoint".to_owned(), endpoint)).into_iter().collect()
}
