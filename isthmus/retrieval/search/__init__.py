"""From a query to ranked items."""
