//! `fermata work`: makes this machine a worker of a job that another one hands out.

use fermata::learn_cli::WorkArguments;

#[cfg(not(feature = "remote"))]
pub(crate) fn work(_: &WorkArguments) -> anyhow::Result<u8> {
    anyhow::bail!(crate::without_remote::WITHOUT)
}

#[cfg(feature = "remote")]
pub(crate) fn work(arguments: &WorkArguments) -> anyhow::Result<u8> {
    crate::working::work(arguments)
}
