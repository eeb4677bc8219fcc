"""json_schema.py SCHEMA: reads a JSON document from stdin and prints a line for each thing that the schema does not allow."""
import json
import sys

from jsonschema.validators import validator_for

with open(sys.argv[1], encoding="utf-8") as file:
    schema = json.load(file)
validator = validator_for(schema)(schema)
for error in validator.iter_errors(json.load(sys.stdin)):
    print(f"{error.json_path}: {error.message[:200]}")
