/* One user's processes against everybody else's: see crowd.c. */

#ifndef CROWD_H
#define CROWD_H

int crowd_watch(void);
void crowd_thin(int events);

#endif
