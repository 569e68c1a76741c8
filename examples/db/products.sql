-- The database `products`: two rows, and two roles that may read and write them, for policies of your own. Run inside it;
-- can be run again.
--
-- Why the roles are made here: no policy of the examples names them, and `signet policy sql` makes those that its policy
-- names, and lets Envoy be them. Nobody logs in as these until a policy of yours does, whose SQL takes them as they are.
do $$
begin
    if not exists (select from pg_roles where rolname = 'dbclient') then
        create role dbclient login;
    end if;
    if not exists (select from pg_roles where rolname = 'demoapi') then
        create role demoapi login;
    end if;
end
$$;

revoke all on database products from public;
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
