"""The documentation site: figures and tables made from the code, and the hooks that put them into its pages."""
