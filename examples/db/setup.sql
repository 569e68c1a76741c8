-- Everything, for psql as the administrator: psql -v ON_ERROR_STOP=1 -d postgres -f setup.sql
\ir roles.sql

select 'create database customers' where not exists (select from pg_database where datname = 'customers') \gexec
\connect customers
\ir customers.sql

select 'create database products' where not exists (select from pg_database where datname = 'products') \gexec
\connect products
\ir products.sql
