//! `fermata site`: shows the state of a site, and ends it.

use crate::site_cli::SiteCommand;

/// Runs a command about a site.
///
/// # Errors
/// Fails if the server cannot be reached or does not answer, or if nothing can be printed.
#[cfg(feature = "remote")]
pub(crate) fn site(command: &SiteCommand) -> anyhow::Result<u8> {
    use crate::cli::SUCCESS;
    use crate::print::{print, print_line};
    use crate::remote::open;
    let (SiteCommand::Status(given) | SiteCommand::Drain(given) | SiteCommand::End(given)) =
        command;
    let connection = open(&given.nats, &given.site, fermata_engine::Codecs::default())?;
    match command {
        SiteCommand::Status(_) => print(&told(&fermata_remote::site::state(&connection)?))?,
        SiteCommand::Drain(_) => {
            fermata_remote::site::drain(&connection)?;
            print_line("the sources of all parts end; parts end once everything has arrived")?;
        }
        SiteCommand::End(_) => {
            let gone = fermata_remote::site::end(&connection)?;
            for store in &gone {
                print_line(&format!("removed {store}"))?;
            }
            if gone.is_empty() {
                print_line("the server holds nothing of this site")?;
            }
        }
    }
    Ok(SUCCESS)
}

/// Always fails: this program was built without `remote`.
///
/// # Errors
/// Always.
#[cfg(not(feature = "remote"))]
pub(crate) fn site(_: &SiteCommand) -> anyhow::Result<u8> {
    anyhow::bail!("{}", crate::remote::WITHOUT)
}

#[cfg(feature = "remote")]
fn told(state: &fermata_remote::site::SiteState) -> String {
    use fermata_remote::site::PartState;
    let drains = if state.is_draining { ", draining" } else { "" };
    let mut text = format!(
        "{}: run {} of version {}, begun {}{drains}\n",
        state.graph, state.run, state.version, state.since
    );
    for (machine, part) in &state.parts {
        let again = |incarnation: u64| match incarnation {
            1 => String::new(),
            times => format!(", started {times} times"),
        };
        let how = match part {
            PartState::Missing => "not started".to_owned(),
            PartState::Runs { since, incarnation } => {
                format!("runs since {since}{}", again(*incarnation))
            }
            PartState::Silent { since, incarnation } => format!(
                "does not answer: dead or cut off, started {since}{}",
                again(*incarnation)
            ),
            PartState::Ended { at } => format!("ended {at}"),
        };
        text += &format!("  {machine:<16} {how}\n");
    }
    for edge in &state.edges {
        text += &format!(
            "  {:<40} {} packets, {} bytes wait\n",
            edge.store, edge.packets, edge.bytes
        );
    }
    text
}
