.PHONY: test

# Installs what the tests need (Debian 12, root), then runs all of them.
test:
	tests/setup.sh
	cargo test --locked
