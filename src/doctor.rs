//! `fermata doctor`: what is installed here and what works.

#[cfg(feature = "live")]
use crate::cli::FAILED;
use crate::cli::SUCCESS;
use crate::print::print_line;

/// Prints one line for each thing that graphs may need; fails if one is missing that every graph of cameras needs.
pub fn doctor() -> anyhow::Result<u8> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    print_line(&format!(
        "fermata {}, {cores} cores\n",
        env!("CARGO_PKG_VERSION")
    ))?;
    #[cfg_attr(not(feature = "live"), expect(unused_mut))]
    let mut code = SUCCESS;
    #[cfg(feature = "live")]
    for part in fermata_actors::installed::installed() {
        let (mark, text) = match &part.state {
            Ok(found) => ("ok", found),
            Err(missing) if part.essential => {
                code = FAILED;
                ("MISSING", missing)
            }
            Err(missing) => ("-", missing),
        };
        print_line(&format!("{mark:<8} {:<14} {text}", part.name))?;
        print_line(&format!("{:<8} {:<14} for {}", "", "", part.purpose))?;
    }
    Ok(code)
}
