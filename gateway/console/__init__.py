"""The web page of the admin port: static files that speak to the admin API like every client."""
