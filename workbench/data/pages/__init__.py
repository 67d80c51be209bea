"""Web pages: the main text of each, whatever its makers did to the markup."""
