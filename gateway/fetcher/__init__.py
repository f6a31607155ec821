"""`gateway fetcher`: beside a model server without the registry's folder, it gets adapters
from a gateway by their digest."""
