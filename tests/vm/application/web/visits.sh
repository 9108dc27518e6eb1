#!/bin/sh
# GET: the names of all visitors. POST: the body is one more.
sql() {
    mariadb --host=database --user=shop --password="$PASSWORD" --skip-column-names --execute="$1" shop
}
if [ "$REQUEST_METHOD" = POST ]; then
    name=$(head -c "$CONTENT_LENGTH" | tr -cd 'a-z0-9-')
    sql "insert into visits (name) values ('$name')" || failed=yes
fi
names=$(sql "select name from visits order by id") || failed=yes
[ -z "$failed" ] || printf 'Status: 500 Internal Server Error\r\n'
printf 'Content-Type: text/plain\r\n\r\n%s' "$names"
