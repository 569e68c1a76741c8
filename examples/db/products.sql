-- The database `products`: two rows, and two workloads that may read and write them. Run inside it,
-- after roles.sql; can be run again.
revoke all on database products from public;
grant connect on database products to dbclient, demoapi;
revoke all on schema public from public;
grant usage on schema public to dbclient, demoapi;

create table if not exists products (
    id   varchar(40)  primary key,
    name varchar(128) not null
);

insert into products (id, name)
values
    ('f2d15608-7d48-11ed-9a61-0242ac1b0002', 'first'),
    ('0636ffae-7d49-11ed-9a61-0242ac1b0002', 'second')
on conflict (id) do nothing;

grant select, insert, update, delete on products to dbclient, demoapi;
