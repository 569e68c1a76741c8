-- The databases of the examples, for psql as the administrator; can be run again.
select 'create database customers' where not exists (select from pg_database where datname = 'customers') \gexec
select 'create database products' where not exists (select from pg_database where datname = 'products') \gexec
