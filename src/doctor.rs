//! `fermata doctor`: what is installed here and what works.

use crate::cli::SUCCESS;

/// Prints one line for each thing that graphs may need.
pub(crate) fn doctor() -> anyhow::Result<u8> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("fermata      {}", env!("CARGO_PKG_VERSION"));
    println!("cores        {cores}");
    Ok(SUCCESS)
}
