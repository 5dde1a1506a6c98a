#!/bin/sh
# At the first start, initialize PGDATA and run the SQL files of /docker-entrypoint-initdb.d; then run the server.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    mkdir -p "$PGDATA"
    chmod 700 "$PGDATA"
    # An interrupted initialization leaves an incomplete folder.
    find "$PGDATA" -mindepth 1 -delete
    printf '%s\n' "$POSTGRES_PASSWORD" >/tmp/password
    initdb --username=postgres --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256
    rm /tmp/password
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    pg_ctl start --wait --options='-c listen_addresses='
    for file in /docker-entrypoint-initdb.d/*.sql; do
        psql --no-psqlrc --set=ON_ERROR_STOP=1 --username=postgres --file="$file"
    done
    pg_ctl stop --wait --mode=fast
fi
exec "$@" --listen_addresses='*'
