# The console starts /bin/sh; a person there wants bash.
case $- in
*i*) if [ -z "${BASH_VERSION:-}" ]; then exec /bin/bash --login; fi ;;
esac
