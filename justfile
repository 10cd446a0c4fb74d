# Short names for what CONTRIBUTING.md describes; `just` lists them.

# List the recipes
default:
    @just --list --unsorted

# Ask, receipt, verify, replay, tamper
demo:
    cargo run --release -- demo

# Every test
test:
    cargo test --workspace

# Formatting, lints and rules: what is quick
quick:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo xtask layers
    cargo xtask tidy
    cargo xtask coverage

# Fuzz every parser for some seconds together
fuzz seconds="60":
    cargo xtask fuzz --seconds {{seconds}}

# Licences, bans and sources of the dependencies
deny:
    cargo xtask deny

# Mutation testing of the trusted base
mutants:
    cargo xtask soak mutants

# Every gate
ci:
    .ci/run
