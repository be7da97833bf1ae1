//! What to type to install a PostgreSQL server, on the system at hand.

/// Commands by the `ID` or `ID_LIKE` of `/etc/os-release`.
const COMMANDS: [(&[&str], &str); 6] = [
    (
        &["debian", "ubuntu"],
        "sudo apt-get update && sudo apt-get install -y --no-install-recommends postgresql",
    ),
    (&["fedora", "rhel", "centos", "amzn"], "sudo dnf install -y postgresql-server"),
    (&["alpine"], "sudo apk add postgresql"),
    (&["arch"], "sudo pacman -S --needed postgresql"),
    (&["suse", "opensuse", "sles"], "sudo zypper install -y postgresql-server"),
    (&["nixos"], "nix-shell -p postgresql"),
];

/// The command for a system, given the text of its `/etc/os-release` and the platform's name.
pub(super) fn install_command(os_release: &str, platform: &str) -> &'static str {
    if platform == "macos" {
        return "brew install postgresql@17";
    }
    let field = |name: &str| {
        os_release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_default()
            .trim_matches(['"', '\''])
    };
    // A distribution's own name comes first: it may need another command than its parents.
    field("ID")
        .split_whitespace()
        .chain(field("ID_LIKE").split_whitespace())
        .find_map(|id| COMMANDS.iter().find(|(ids, _)| ids.contains(&id)))
        .map_or("see https://www.postgresql.org/download/", |(_, command)| command)
}

#[cfg(test)]
mod tests {
    use super::install_command;

    #[test]
    fn a_derived_distribution_gets_its_parents_command() {
        let mint = "NAME=\"Linux Mint\"\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n";
        assert!(install_command(mint, "linux").contains("apt-get install"));
        let rocky = "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n";
        assert_eq!(install_command(rocky, "linux"), "sudo dnf install -y postgresql-server");
        let tumbleweed = "ID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"\n";
        assert_eq!(
            install_command(tumbleweed, "linux"),
            "sudo zypper install -y postgresql-server"
        );
    }

    #[test]
    fn an_unknown_system_is_sent_to_the_project() {
        assert!(install_command("", "linux").starts_with("see https://www.postgresql.org"));
        assert!(install_command("ID=void\n", "linux").starts_with("see "));
    }

    #[test]
    fn a_mac_is_told_about_homebrew() {
        assert!(install_command("", "macos").starts_with("brew install"));
    }
}
