-- Every role of the examples. Cluster-wide; can be run again. None has a password: pg-role.wasm names
-- the role, and pg_hba.conf takes Envoy's word for it.
do $$
declare
    role_name text;
begin
    foreach role_name in array array['customers_reader', 'customers_writer', 'api', 'dbclient', 'demoapi']
    loop
        if not exists (select from pg_roles where rolname = role_name) then
            execute format('create role %I login', role_name);
        end if;
    end loop;
end
$$;

-- The API logs in as a role that may do nothing by itself and becomes one of these two for each
-- transaction (`set_config('role', …, true)`). A query that forgets to is refused.
alter role api noinherit;
do $$
begin
    if current_setting('server_version_num')::int >= 160000 then
        -- Since 16 the membership decides, not the role.
        execute 'grant customers_reader, customers_writer to api with inherit false, set true';
    else
        execute 'grant customers_reader, customers_writer to api';
    end if;
end
$$;
