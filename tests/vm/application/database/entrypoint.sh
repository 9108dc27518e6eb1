#!/bin/sh
# Makes the database at the first start, on the volume; then becomes the server.
set -e
if [ ! -e /var/lib/mysql/made ]; then
    mariadb-install-db --no-defaults --datadir=/var/lib/mysql --auth-root-authentication-method=normal \
        --skip-test-db --skip-name-resolve --force
    touch /var/lib/mysql/made
fi
cat > /tmp/init.sql <<SQL
create database if not exists shop;
create table if not exists shop.visits (id int auto_increment primary key, name varchar(80) not null) engine=innodb;
create user if not exists shop@'%' identified by '$PASSWORD';
grant all on shop.* to shop@'%';
SQL
exec "$@" --no-defaults --datadir=/var/lib/mysql --init-file=/tmp/init.sql --socket=/tmp/mysqld.sock \
    --innodb-buffer-pool-size=8M --skip-name-resolve
