/** The application object: every operation, behind the api's contract. */
export { type ApplicationOptions, createApplication } from './application.ts';
