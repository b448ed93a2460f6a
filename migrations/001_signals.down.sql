-- Removes the schema, every trigger that gatebell.watch() attached, and all facts.
drop schema gatebell cascade;
