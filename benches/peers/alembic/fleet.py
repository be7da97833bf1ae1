"""One process that loops over the schemas of a database, as alembic's cookbook has it.

fleet.py URL VERSIONS VERB [REVISION]; the schemas are all whose names begin with "tenant_".
"""

import io
import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

url, versions, verb, *revision = sys.argv[1:]
config = Config(stdout=io.StringIO())
config.set_main_option("script_location", str(Path(__file__).parent))
config.set_main_option("version_locations", versions)
config.set_main_option("path_separator", "newline")
with create_engine(url).connect() as connection:
    config.attributes["connection"] = connection
    found = connection.exec_driver_sql(
        "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, 'tenant_') ORDER BY 1"
    )
    for (schema,) in found.all():
        connection.exec_driver_sql(f"SET search_path TO {schema}")
        connection.commit()
        connection.dialect.default_schema_name = schema
        getattr(command, verb)(config, *revision)
        connection.rollback()
